//! A run at one moment: everything that is shown of it.

use program_db::view::{Bucket, FailureKind, Listed, Maker};
use search::ProgramId;
use serde::Serialize;

use crate::text::span;

/// A run at one moment. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// When it was read.
    pub at: i64,
    /// The run.
    pub run: i64,
    /// The problem's title.
    pub title: String,
    /// The run's seed.
    pub seed: u64,
    /// The database.
    pub database: String,
    /// Whether somebody works on it.
    pub activity: Activity,
    /// Proposals, the initial program not counted.
    pub proposals: u64,
    /// Programs that were evaluated, the initial one included.
    pub evaluated: u64,
    /// Programs that wait for their outcome, or are being evaluated.
    pub pending: u64,
    /// Seconds worked on it, over all sessions.
    pub seconds: f64,
    /// When the last proposal arrived.
    pub last_proposal: Option<i64>,
    /// What limits it, by the stored configuration.
    pub budgets: Budgets,
    /// The highest score.
    pub best: Option<Best>,
    /// The highest score among those that are better beyond chance.
    pub champion: Option<Best>,
    /// The initial program's score.
    pub initial: Option<f64>,
    /// Tokens sent, lessons included.
    pub tokens_in: u64,
    /// Tokens received, lessons included.
    pub tokens_out: u64,
    /// What the models cost, if a price is known.
    pub cost: Option<f64>,
    /// Highest score so far, at each number where it rose.
    pub steps: Vec<Step>,
    /// Scores, thinned out.
    #[serde(skip)]
    pub scores: Vec<Bucket>,
    /// The highest number with an outcome.
    pub last: u64,
    /// The islands.
    pub islands: Islands,
    /// The last proposals, newest first.
    pub recent: Vec<Listed>,
    /// How proposals ended, the most frequent first.
    pub endings: Vec<FailureKind>,
    /// Who made them.
    pub makers: Vec<Maker>,
    /// What measures, and the state that it was last in.
    pub device: Option<Device>,
    /// How results were measured without the full sandbox, if any were.
    pub alarm: Option<String>,
}

/// Whether somebody works on a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Activity {
    /// A process searches.
    Running {
        /// Its id on this machine.
        pid: u32,
        /// Since when.
        since: i64,
    },
    /// A process holds the run, but isn't in a session: it starts, or measures for a report.
    Held {
        /// Its id, where it noted one.
        pid: Option<u32>,
    },
    /// The last session came to its end.
    Ended {
        /// When.
        at: i64,
        /// Why.
        reason: String,
    },
    /// The last session has no end, and nobody works on the run: it was killed.
    Killed,
    /// Nobody ever worked on it (an imported run, say).
    Untouched,
}

impl Activity {
    /// In a few words.
    pub fn words(&self) -> String {
        match self {
            Self::Running { pid, .. } => format!("running (process {pid})"),
            Self::Held { pid: Some(pid) } => format!("starting or measuring (process {pid})"),
            Self::Held { pid: None } => "starting".to_owned(),
            Self::Ended { reason, .. } => format!("ended: {}", reason.replace('_', " ")),
            Self::Killed => "stopped without a word (killed?)".to_owned(),
            Self::Untouched => "not started".to_owned(),
        }
    }

    /// Whether a process works on it.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Held { .. })
    }
}

/// What limits a run, by the configuration stored with it; flags of a session may differ.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Budgets {
    /// Proposals in all.
    pub iterations: Option<u64>,
    /// Seconds of one session.
    pub wall_seconds: Option<f64>,
    /// Score to stop at.
    pub target_score: Option<f64>,
    /// Most to spend on models.
    pub cost: Option<f64>,
    /// What costs are in.
    pub currency: String,
    /// Most tokens, sent and received.
    pub tokens: Option<u64>,
    /// Why they aren't known.
    pub unknown: Option<String>,
}

/// A program that leads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Best {
    /// Its number.
    pub number: ProgramId,
    /// Its score.
    pub score: f64,
}

/// The highest score so far rose.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// By this program.
    pub number: ProgramId,
    /// To this score.
    pub score: f64,
    /// Its 95 % interval, where the evaluator tells how noisy a score is.
    pub interval: Option<(f64, f64)>,
}

/// The islands of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Islands {
    /// One for each.
    pub each: Vec<Island>,
    /// Why they aren't known.
    pub unknown: Option<String>,
}

/// One island.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Island {
    /// Its number.
    pub index: usize,
    /// Outcomes told to it.
    pub told: u64,
    /// Outcomes told to it since it last found something better.
    pub since_improvement: u64,
    /// Programs that hold a cell of its grid.
    pub elites: usize,
    /// Its best program.
    pub best: Option<Best>,
    /// Whether proposals are still made for it.
    pub active: bool,
}

/// What measures, and the state that it was last in.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Device {
    /// The processor's or GPU's name.
    pub name: Option<String>,
    /// MLX's backend and version.
    pub mlx: Option<String>,
    /// The protocol of the statistics.
    pub protocol: String,
    /// How well candidates are shut in.
    pub sandbox: Option<String>,
    /// When the last trial started.
    pub measured_at: Option<i64>,
    /// Processes that want a core, per core.
    pub load: Option<f64>,
    /// Degrees Celsius.
    pub temperature: Option<f64>,
    /// MHz.
    pub frequency: Option<f64>,
    /// Whether it runs on its battery.
    pub on_battery: Option<bool>,
    /// The reference's speed over the run, in tokens per second.
    pub speeds: Vec<f64>,
    /// How steady it is, in words, a line each.
    pub steadiness: Vec<String>,
}

impl Status {
    /// The whole of it in one plain line, with the time in UTC.
    pub fn line(&self) -> String {
        let mut parts = vec![self.activity.words(), self.progress()];
        parts.push(format!("{} evaluated", self.evaluated));
        if self.pending > 0 {
            parts.push(format!("{} pending", self.pending));
        }
        parts.push(self.best_words());
        parts.extend(self.cost_words());
        parts.push(span(self.seconds));
        parts.extend(self.alarm.clone());
        format!("{} run {}: {}", crate::text::utc(self.at), self.run, parts.join(", "))
    }

    /// Without the greater part of what grows with the run, as one line of JSON should be.
    #[must_use]
    pub fn brief(mut self) -> Self {
        self.recent.truncate(20);
        self.steps.drain(..self.steps.len().saturating_sub(50));
        self
    }

    /// The configured number of proposals, unless there are more already: then a flag of the session says otherwise.
    fn goal(&self) -> Option<u64> {
        self.budgets.iterations.filter(|of| *of > 0 && *of >= self.proposals)
    }

    /// `12 of 100 proposals`.
    pub fn progress(&self) -> String {
        let of = self.goal().map(|of| format!(" of {of}")).unwrap_or_default();
        format!("{}{of} proposals", self.proposals)
    }

    /// How much of the iterations is done, 0 to 1.
    pub fn share(&self) -> Option<f64> {
        self.goal().map(|of| self.proposals as f64 / of as f64)
    }

    /// `best 1.2000 (program 7), initial 1.0000`.
    pub fn best_words(&self) -> String {
        let Some(best) = &self.best else { return "nothing measured yet".to_owned() };
        let mut text = format!("best {:.4} (program {})", best.score, best.number);
        match &self.champion {
            Some(champion) if champion.number == best.number => text.push_str(", improved"),
            Some(champion) => {
                text.push_str(&format!(
                    ", best of the improved {:.4} (program {})",
                    champion.score, champion.number
                ));
            }
            None => {}
        }
        if let Some(initial) = self.initial {
            text.push_str(&format!(", initial {initial:.4}"));
        }
        text
    }

    /// `cost 0.1200 of 5 USD`; nothing where nobody was paid.
    pub fn cost_words(&self) -> Option<String> {
        if self.tokens_in + self.tokens_out == 0 && self.cost.is_none() {
            return None;
        }
        let Some(cost) = self.cost else {
            let of = self.budgets.tokens.map(|of| format!(" of {of}")).unwrap_or_default();
            return Some(format!("{}{of} tokens", self.tokens_in + self.tokens_out));
        };
        let of = self.budgets.cost.map(|of| format!(" of {of}")).unwrap_or_default();
        Some(format!("cost {cost:.4}{of} {}", self.budgets.currency).trim_end().to_owned())
    }
}
