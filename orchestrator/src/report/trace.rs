//! The reference's own speed over a run: a machine that drifts or throttles is seen here.

use std::fmt::Write as _;

use program_db::ReferenceTrial;
use serde::Serialize;

use super::numbers::{count, median, percent, signed};

/// Changes below this share are noise that nobody needs to hear of.
const STEADY: f64 = 0.02;
/// Fewer trials show no drift.
const ENOUGH: usize = 6;
/// Trials by which one program's speeds are joined to those of the one before.
const LINK: usize = 5;

/// The reference's trials, and when another program became the reference.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Trace {
    /// In the order of time.
    pub trials: Vec<ReferenceTrial>,
    /// In the order of time.
    pub promotions: Vec<Promotion>,
}

/// From here on candidates were compared with another program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Promotion {
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// Which program.
    pub number: u64,
}

/// A trial's speed beside that of the first ones.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Relative {
    speed: f64,
    temperature: Option<f64>,
}

impl Trace {
    /// How steady the machine was, in words; what the trials say of it, a line each.
    pub fn words(&self) -> String {
        let relative = self.relative();
        if relative.len() < ENOUGH {
            let trials = count(relative.len(), "trial");
            return format!("too few trials of the reference to see a drift ({trials})\n");
        }
        let third = relative.len() / 3;
        let typical = |part: &[Relative]| {
            median(&part.iter().map(|trial| trial.speed).collect::<Vec<_>>()).unwrap_or(1.0)
        };
        let change = typical(&relative[relative.len() - third..]) / typical(&relative[..third]) - 1.0;
        let verdict = match change {
            change if change < -STEADY => {
                format!("the machine got slower: {} in the last third against the first", signed(change))
            }
            change if change > STEADY => {
                format!("the machine got faster: {} in the last third against the first", signed(change))
            }
            _ => format!("steady: {} in the last third against the first", signed(change)),
        };
        let slowest = relative.iter().map(|trial| trial.speed).fold(f64::INFINITY, f64::min);
        let fastest = relative.iter().map(|trial| trial.speed).fold(0.0, f64::max);
        let mut text = format!(
            "{verdict}\n{} of the reference, from {} to {} against the first ones\n",
            count(relative.len(), "trial"),
            signed(slowest - 1.0),
            signed(fastest - 1.0)
        );
        text.push_str(&self.heat(relative));
        if let Some((low, high)) = range(self.trials.iter().filter_map(|trial| trial.frequency)) {
            let _ = if low < 0.8 * high {
                writeln!(text, "clock {low:.0} to {high:.0} MHz: throttled, or idle before some trials")
            } else {
                writeln!(text, "clock at least {low:.0} MHz")
            };
        }
        if let Some((_, high)) =
            range(self.trials.iter().filter_map(|trial| trial.load)).filter(|(_, high)| *high > 1.5)
        {
            let _ = writeln!(text, "at times the machine was busy with other work (load {high:.1} per core)");
        }
        text
    }

    fn heat(&self, mut relative: Vec<Relative>) -> String {
        let Some((low, high)) = range(self.trials.iter().filter_map(|trial| trial.temperature)) else {
            return String::new();
        };
        let mut text = format!("{low:.0} to {high:.0} °C");
        relative.retain(|trial| trial.temperature.is_some());
        relative
            .sort_by(|a, b| a.temperature.unwrap_or_default().total_cmp(&b.temperature.unwrap_or_default()));
        let third = relative.len() / 3;
        let speed = |part: &[Relative]| median(&part.iter().map(|trial| trial.speed).collect::<Vec<_>>());
        if relative.len() >= ENOUGH
            && high - low >= 5.0
            && let (Some(cool), Some(hot)) =
                (speed(&relative[..third]), speed(&relative[relative.len() - third..]))
            && hot / cool - 1.0 < -STEADY
        {
            let _ = write!(text, "; {} slower where it was hottest: it throttles", percent(1.0 - hot / cool));
        }
        text.push('\n');
        text
    }

    /// Which program the reference was at a time: how many promotions lie before.
    fn segment(&self, trial: &ReferenceTrial) -> usize {
        if trial.arm == "baseline" {
            return 0;
        }
        self.promotions.iter().filter(|promotion| promotion.at <= trial.started_at).count()
    }

    /// Each trial's speed as a share of the first ones'. Where another program becomes the reference, its first trials are
    /// taken to be as fast as the last ones of the program before: a faster reference isn't a faster machine, and what
    /// happens to the machine within one program's time is carried on.
    fn relative(&self) -> Vec<Relative> {
        let known: Vec<(usize, f64, Option<f64>)> = self
            .trials
            .iter()
            .filter_map(|trial| {
                let speed = trial.tokens_per_second.filter(|speed| *speed > 0.0)?;
                Some((self.segment(trial), speed, trial.temperature))
            })
            .collect();
        let mut relative: Vec<Relative> = Vec::new();
        for program in known.chunk_by(|a, b| a.0 == b.0) {
            let speeds: Vec<f64> = program.iter().map(|(_, speed, _)| *speed).collect();
            let before: Vec<f64> = relative.iter().rev().take(LINK).map(|trial| trial.speed).collect();
            let level = median(&before).unwrap_or(1.0);
            let Some(first) = median(&speeds[..speeds.len().min(LINK)]) else { continue };
            relative.extend(program.iter().map(|(_, speed, temperature)| Relative {
                speed: level * speed / first,
                temperature: *temperature,
            }));
        }
        relative
    }
}

/// Least and greatest; none of nothing.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}
