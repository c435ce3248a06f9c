//! The reference's speed over a run.

use std::fmt::Write as _;

use program_db::ReferenceTrial;

use super::scale::{Scale, range};
use super::{Drawing, Links, begin, end};
use crate::report::trace::Trace;

const WIDTH: f64 = 740.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 700.0;

/// The reference's speed over the time of the run, with the temperature below where it is known.
pub fn trace(trace: &Trace) -> Drawing {
    let speeds = points(&trace.trials, |trial| trial.tokens_per_second);
    let heats = points(&trace.trials, |trial| trial.temperature);
    let mut panels = vec![("tokens per second", speeds, 180.0), ("°C", heats, 90.0)];
    panels.retain(|(_, points, _)| !points.is_empty());
    let (first, last) = match (trace.trials.first(), trace.trials.last()) {
        (Some(first), Some(last)) => (first.started_at, last.started_at),
        _ => (0, 0),
    };
    let height = 50.0 + panels.iter().map(|(_, _, height)| height + 34.0).sum::<f64>();
    let words = trace.words();
    let mut svg = begin("The reference's speed over the run", words.trim_end(), (WIDTH, height), Links::None);
    let minutes = |at: i64| (at - first) as f64 / 60_000.0;
    let time = Scale::over((0.0, minutes(last)), 1.0, (LEFT, RIGHT));
    let mut top = 6.0;
    for (name, points, height) in &panels {
        // The plane is upright: up is more.
        let ends = (top + 20.0 + height, top + 20.0);
        let scale = Scale::over(range(points.iter().map(|(_, value)| *value)).unwrap_or_default(), 1.0, ends);
        let _ = write!(svg, "<text class=\"name\" x=\"{LEFT}\" y=\"{:.1}\">{name}</text>", top + 10.0);
        for tick in scale.ticks() {
            let y = scale.x(tick);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
                LEFT - 8.0,
                y + 4.0,
                tick = scale.plain(tick)
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
            time.plain(tick)
        );
    }
    let note =
        if trace.promotions.is_empty() { "" } else { "; dashed: a better program became the reference" };
    let _ = write!(
        svg,
        "<text class=\"soft\" x=\"{LEFT}\" y=\"{:.1}\">minutes since the first trial{note}</text>",
        top + 24.0
    );
    end(svg)
}

fn points(trials: &[ReferenceTrial], value: impl Fn(&ReferenceTrial) -> Option<f64>) -> Vec<(i64, f64)> {
    let finite = |trial: &ReferenceTrial| {
        Some((trial.started_at, value(trial).filter(|value: &f64| value.is_finite())?))
    };
    trials.iter().filter_map(finite).collect()
}
