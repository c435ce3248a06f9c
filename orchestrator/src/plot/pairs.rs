//! Pairs of trials beside their effect.

use std::fmt::Write as _;

use super::scale::{Scale, range};
use super::{Drawing, Links, begin, end, escaped};
use crate::report::numbers::{count, interval, metric_name, signed};

const WIDTH: f64 = 740.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 700.0;

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
pub fn pairs(title: &str, strips: &[Strip]) -> Drawing {
    const ROW: f64 = 11.0;
    const HEAD: f64 = 34.0;
    let height_of = |strip: &Strip| HEAD + ROW * strip.changes.len() as f64 + 64.0;
    let height = 30.0 + strips.iter().map(height_of).sum::<f64>();
    let described: Vec<String> = strips
        .iter()
        .map(|strip| {
            let effect = strip.effect.map_or_else(|| "no effect known".to_owned(), signed);
            let n = count(strip.changes.len(), "pair");
            format!("{}: {n}, effect {effect}{}", metric_name(&strip.metric), interval(strip.interval))
        })
        .collect();
    let mut svg = begin(title, &described.join(". "), (WIDTH, height), Links::None);
    let _ =
        write!(svg, "<text class=\"soft\" x=\"{LEFT}\" y=\"18\">change of each pair, right is better</text>");
    for (x, class, words) in [(440.0, "dot", "reference ran first"), (580.0, "dot hollow", "candidate first")]
    {
        let _ = write!(
            svg,
            "<circle class=\"{class}\" cx=\"{x}\" cy=\"14\" r=\"3.5\"/><text class=\"soft\" x=\"{}\" y=\"18\">{words}</text>",
            x + 8.0
        );
    }
    let mut top = 30.0;
    for (strip, described) in strips.iter().zip(&described) {
        let ends = strip.interval.map_or([None, None], |(low, high)| [Some(low), Some(high)]);
        let all = strip.changes.iter().map(|(change, _)| *change);
        let all =
            all.chain(strip.effect).chain(ends.into_iter().flatten()).chain([0.0]).filter(|v| v.is_finite());
        let scale = Scale::over(range(all).unwrap_or_default(), 0.01, (LEFT, RIGHT));
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
                scale.percent(tick)
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
    end(svg)
}

/// Single trials of each arm, where they aren't pairs: a row of dots with their mean.
pub fn arms(title: &str, what: &str, arms: &[(&str, Vec<f64>)]) -> Drawing {
    const ROW: f64 = 44.0;
    let height = 24.0 + ROW * arms.len() as f64 + 30.0;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let described: Vec<String> = arms
        .iter()
        .map(|(name, values)| format!("{name}: {}, mean {:.1}", count(values.len(), "trial"), mean(values)))
        .collect();
    let mut svg = begin(title, &format!("{what}. {}", described.join(". ")), (WIDTH, height), Links::None);
    let all = range(arms.iter().flat_map(|(_, values)| values.iter().copied())).unwrap_or_default();
    let scale = Scale::over(all, all.1.abs().max(1e-9) * 0.02, (LEFT + 40.0, RIGHT));
    let bottom = 24.0 + ROW * arms.len() as f64;
    let _ = write!(svg, "<text class=\"soft\" x=\"{LEFT}\" y=\"14\">{}, right is more</text>", escaped(what));
    for tick in scale.ticks() {
        let x = scale.x(tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"24\" y2=\"{bottom:.1}\"/>\
             <text class=\"soft middle\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            bottom + 16.0,
            scale.plain(tick)
        );
    }
    for (index, (name, values)) in arms.iter().enumerate() {
        let y = 24.0 + ROW * (index as f64 + 0.5);
        let _ = write!(
            svg,
            "<text class=\"soft end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT + 28.0,
            y + 4.0,
            escaped(name)
        );
        let class = if index == 0 { "dot hollow" } else { "dot" };
        for value in values {
            let _ = write!(
                svg,
                "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{value:.1}</title></circle>",
                scale.x(*value)
            );
        }
        if !values.is_empty() {
            let x = scale.x(mean(values));
            let _ = write!(svg, "<path class=\"effect\" d=\"M{x:.1} {:.1}v24\"/>", y - 12.0);
        }
    }
    end(svg)
}
