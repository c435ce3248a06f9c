//! Drawings as SVG: pairs beside their effect, and the reference's trace. Colours follow the reader's light or dark scheme.

use std::fmt::Write as _;

use program_db::ReferenceTrial;

use super::numbers::{count, interval, metric_name, signed};
use super::trace::{Trace, range};

/// Units across.
const WIDTH: f64 = 720.0;
/// Where the data begin and end.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 700.0;

/// Scoped, because a page has several drawings and its own style.
const STYLE: &str = "<style>.evolve-plot{color-scheme:light dark;--ink:#1f2328;--soft:#59636e;--grid:#d1d9e0;\
--mark:#0969da;--effect:#bc4c00;--paper:#ffffff;background:var(--paper);font:12px system-ui,sans-serif}\
@media(prefers-color-scheme:dark){.evolve-plot{--ink:#f0f6fc;--soft:#9198a1;--grid:#3d444d;--mark:#4493f8;\
--effect:#f0883e;--paper:#0d1117}}.evolve-plot text{fill:var(--ink)}.evolve-plot .soft{fill:var(--soft)}\
.evolve-plot .name{font-weight:600}.evolve-plot .grid{stroke:var(--grid);stroke-width:1}\
.evolve-plot .zero{stroke:var(--ink);stroke-width:1.5}.evolve-plot .dot{fill:var(--mark);stroke:var(--mark);stroke-width:1.5}\
.evolve-plot .hollow{fill:var(--paper)}.evolve-plot .effect{stroke:var(--effect);stroke-width:3;fill:var(--effect)}\
.evolve-plot .change{stroke:var(--effect);stroke-width:1.5;stroke-dasharray:4 3}</style>";

/// The pairs of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Strip {
    /// The metric's name.
    pub metric: String,
    /// Relative change of each pair and whether the reference ran first, in the order they ran; positive is better.
    pub changes: Vec<(f64, bool)>,
    /// Hodges–Lehmann estimate.
    pub effect: Option<f64>,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
}

/// A strip for each metric: a dot a pair, from top to bottom in the order they ran, with the effect and its interval below.
pub fn pairs(title: &str, strips: &[Strip]) -> String {
    const ROW: f64 = 11.0;
    const HEAD: f64 = 34.0;
    let height_of = |strip: &Strip| HEAD + ROW * strip.changes.len() as f64 + 64.0;
    let height = 58.0 + strips.iter().map(height_of).sum::<f64>();
    let described: Vec<String> = strips
        .iter()
        .map(|strip| {
            let effect = strip.effect.map_or_else(|| "no effect known".to_owned(), signed);
            let n = count(strip.changes.len(), "pair");
            format!("{}: {n}, effect {effect}{}", metric_name(&strip.metric), interval(strip.interval))
        })
        .collect();
    let mut svg = begin(title, &described.join(". "), height);
    let _ =
        write!(svg, "<text class=\"soft\" x=\"{LEFT}\" y=\"44\">change of each pair, right is better</text>");
    for (x, class, words) in [(440.0, "dot", "reference ran first"), (580.0, "dot hollow", "candidate first")]
    {
        let _ = write!(
            svg,
            "<circle class=\"{class}\" cx=\"{x}\" cy=\"40\" r=\"3.5\"/><text class=\"soft\" x=\"{}\" y=\"44\">{words}</text>",
            x + 8.0
        );
    }
    let mut top = 58.0;
    for (strip, described) in strips.iter().zip(&described) {
        let ends = strip.interval.map_or([None, None], |(low, high)| [Some(low), Some(high)]);
        let all = strip.changes.iter().map(|(change, _)| *change);
        let all =
            all.chain(strip.effect).chain(ends.into_iter().flatten()).chain([0.0]).filter(|v| v.is_finite());
        let scale = Scale::over(range(all).unwrap_or_default(), 0.01);
        let bottom = top + HEAD + ROW * strip.changes.len() as f64 + 26.0;
        let _ = write!(
            svg,
            "<text class=\"name\" x=\"{LEFT}\" y=\"{:.1}\">{}</text>",
            top + 18.0,
            escaped(described)
        );
        for tick in scale.ticks() {
            let x = scale.x(tick);
            let class = if tick.abs() < scale.step / 1e3 { "zero" } else { "grid" };
            let _ = write!(
                svg,
                "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\"/>\
                 <text class=\"soft\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                top + 28.0,
                bottom + 15.0,
                scale.label(tick)
            );
        }
        for (index, (change, reference_first)) in strip.changes.iter().enumerate() {
            let class = if *reference_first { "dot" } else { "dot hollow" };
            let y = top + HEAD + ROW * (index as f64 + 0.5);
            let _ = write!(
                svg,
                "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>pair {index}: {}</title></circle>",
                scale.x(*change),
                signed(*change)
            );
        }
        let y = bottom - 12.0;
        if let Some((low, high)) = strip.interval {
            let (low, high) = (scale.x(low), scale.x(high));
            let _ = write!(
                svg,
                "<path class=\"effect\" d=\"M{low:.1} {y:.1}H{high:.1}M{low:.1} {:.1}v10M{high:.1} {:.1}v10\"/>",
                y - 5.0,
                y - 5.0
            );
        }
        if let Some(effect) = strip.effect {
            let _ = write!(
                svg,
                "<path class=\"effect\" d=\"M{:.1} {:.1}l5 6l-5 6l-5 -6z\"/>",
                scale.x(effect),
                y - 6.0
            );
        }
        top += height_of(strip);
    }
    svg.push_str("</svg>\n");
    svg
}

/// The reference's speed over the time of the run, with the temperature below where it is known.
pub fn trace(trace: &Trace) -> String {
    let speeds = points(&trace.trials, |trial| trial.tokens_per_second);
    let heats = points(&trace.trials, |trial| trial.temperature);
    let mut panels = vec![("tokens per second", speeds, 180.0), ("°C", heats, 90.0)];
    panels.retain(|(_, points, _)| !points.is_empty());
    let (first, last) = match (trace.trials.first(), trace.trials.last()) {
        (Some(first), Some(last)) => (first.started_at, last.started_at),
        _ => (0, 0),
    };
    let height = 76.0 + panels.iter().map(|(_, _, height)| height + 34.0).sum::<f64>();
    let words = trace.words();
    let mut svg = begin("The reference's speed over the run", words.trim_end(), height);
    let minutes = |at: i64| (at - first) as f64 / 60_000.0;
    let time = Scale::over((0.0, minutes(last)), 1.0);
    let mut top = 40.0;
    for (name, points, height) in &panels {
        let mut scale = Scale::over(range(points.iter().map(|(_, value)| *value)).unwrap_or_default(), 1.0);
        // The plane is upright: up is more.
        (scale.left, scale.right) = (top + 20.0 + height, top + 20.0);
        let _ = write!(svg, "<text class=\"name\" x=\"{LEFT}\" y=\"{:.1}\">{name}</text>", top + 10.0);
        for tick in scale.ticks() {
            let y = scale.x(tick);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
                LEFT - 8.0,
                y + 4.0,
                tick = plain(tick, scale.step)
            );
        }
        for promotion in &trace.promotions {
            let x = time.x(minutes(promotion.at));
            let _ = write!(
                svg,
                "<line class=\"change\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\">\
                 <title>from here on candidates were compared with program {}</title></line>",
                scale.right, scale.left, promotion.number
            );
        }
        for (at, value) in points {
            let _ = write!(
                svg,
                "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"/>",
                time.x(minutes(*at)),
                scale.x(*value)
            );
        }
        top += height + 34.0;
    }
    for tick in time.ticks() {
        let _ = write!(
            svg,
            "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            time.x(tick),
            top + 6.0,
            plain(tick, time.step)
        );
    }
    let note =
        if trace.promotions.is_empty() { "" } else { "; dashed: a better program became the reference" };
    let _ = write!(
        svg,
        "<text class=\"soft\" x=\"{LEFT}\" y=\"{:.1}\">minutes since the first trial{note}</text></svg>",
        top + 24.0
    );
    svg.push('\n');
    svg
}

fn points(trials: &[ReferenceTrial], value: impl Fn(&ReferenceTrial) -> Option<f64>) -> Vec<(i64, f64)> {
    let finite = |trial: &ReferenceTrial| {
        Some((trial.started_at, value(trial).filter(|value: &f64| value.is_finite())?))
    };
    trials.iter().filter_map(finite).collect()
}

fn begin(title: &str, description: &str, height: f64) -> String {
    format!(
        "<svg class=\"evolve-plot\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n<desc>{}</desc>\n{STYLE}\n\
         <rect width=\"100%\" height=\"100%\" fill=\"var(--paper)\"/><text class=\"name\" x=\"{LEFT}\" y=\"22\">{title}</text>\n",
        escaped(description),
        title = escaped(title)
    )
}

/// From values to places, with round ticks.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    low: f64,
    high: f64,
    step: f64,
    left: f64,
    right: f64,
}

impl Scale {
    /// Over a range, widened to round numbers; `least` is the width that it has at least.
    fn over((low, high): (f64, f64), least: f64) -> Self {
        let width = (high - low).max(least);
        let rough = width / 6.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|round| round * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let low = (low / step).floor() * step;
        let high = ((high / step).ceil() * step).max(low + step);
        Self { low, high, step, left: LEFT, right: RIGHT }
    }

    fn x(&self, value: f64) -> f64 {
        self.left + (value - self.low) / (self.high - self.low) * (self.right - self.left)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (low, step) = (self.low, self.step);
        let ticks = ((self.high - low) / step).round() as u32;
        (0..=ticks).map(move |index| low + f64::from(index) * step)
    }

    /// A share in percent.
    fn label(&self, tick: f64) -> String {
        let digits = usize::from(self.step < 0.01) + usize::from(self.step < 0.001);
        let percent = (tick * 1e4).round() / 100.0 + 0.0;
        if percent == 0.0 { "0 %".to_owned() } else { format!("{percent:+.digits$} %") }
    }
}

fn plain(tick: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{:.digits$}", tick + 0.0)
}

/// Text as XML and HTML take it, in elements and attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => result.push_str("&amp;"),
            '<' => result.push_str("&lt;"),
            '>' => result.push_str("&gt;"),
            '"' => result.push_str("&quot;"),
            '\'' => result.push_str("&#39;"),
            '\n' | '\t' => result.push(character),
            // Direction overrides make text read differently from what it is.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => result.push('\u{fffd}'),
            // XML has no way to write these.
            _ if character.is_control() => result.push('\u{fffd}'),
            _ => result.push(character),
        }
    }
    result
}
