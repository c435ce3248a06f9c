//! The best score over the numbers of a run.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType};

use super::style::Style;
use crate::watch::status::{Status, Step};

/// Share of the range left free above and below.
const MARGIN: f64 = 0.08;

pub(super) fn draw(status: &Status, style: Style, frame: &mut Frame, area: Rect) {
    let last = status.last.max(1) as f64;
    let block = Block::bordered().title(" best score over proposals ");
    let Some((low, high)) = range(status) else {
        frame.render_widget(ratatui::widgets::Paragraph::new("nothing measured yet").block(block), area);
        return;
    };
    let best = stairs(&status.steps, last);
    let scores: Vec<(f64, f64)> = status
        .scores
        .iter()
        .filter_map(|bucket| bucket.best)
        .map(|(number, score)| (number.0 as f64, score))
        .collect();
    let intervals: Vec<[(f64, f64); 2]> = status
        .steps
        .iter()
        .filter_map(|step| step.interval.map(|(low, high)| (step.number.0 as f64, low, high)))
        .map(|(x, low, high)| [(x, low), (x, high)])
        .collect();
    let mut sets = vec![
        Dataset::default()
            .marker(Marker::Dot)
            .graph_type(GraphType::Scatter)
            .style(style.back())
            .data(&scores),
    ];
    for interval in &intervals {
        sets.push(line(interval).style(style.spread()));
    }
    sets.push(line(&best).style(style.mark()));
    let label = |value: f64| Line::from(format!("{value:.4}"));
    let chart = Chart::new(sets)
        .block(block)
        .x_axis(Axis::default().bounds([0.0, last]).labels(["0".to_owned(), format!("{last:.0}")]))
        .y_axis(Axis::default().bounds([low, high]).labels([label(low), label(high)]));
    frame.render_widget(chart, area);
}

fn line(data: &[(f64, f64)]) -> Dataset<'_> {
    Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).data(data)
}

/// The course of the best score: flat until it rises.
fn stairs(steps: &[Step], last: f64) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(2 * steps.len() + 1);
    for step in steps {
        let x = step.number.0 as f64;
        if let Some((_, before)) = points.last() {
            points.push((x, *before));
        }
        points.push((x, step.score));
    }
    if let Some((_, score)) = points.last().copied() {
        points.push((last, score));
    }
    points
}

/// From the first best score to the last, with their intervals; what is worse than all of these may fall below.
fn range(status: &Status) -> Option<(f64, f64)> {
    let ends = status.steps.iter().flat_map(|step| {
        let (low, high) = step.interval.unwrap_or((step.score, step.score));
        [low, high, step.score]
    });
    let (low, high) = ends.filter(|end| end.is_finite()).fold(None, |range: Option<(f64, f64)>, end| {
        let (low, high) = range.unwrap_or((end, end));
        Some((low.min(end), high.max(end)))
    })?;
    let width = if high > low { high - low } else { high.abs().max(1.0) * 0.02 };
    Some((low - MARGIN * width, high + MARGIN * width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use search::ProgramId;

    #[test]
    fn the_best_score_stays_until_it_rises() {
        let step = |number, score| Step { number: ProgramId(number), score, interval: None };
        let points = stairs(&[step(0, 1.0), step(4, 1.5)], 9.0);
        assert_eq!(points, [(0.0, 1.0), (4.0, 1.0), (4.0, 1.5), (9.0, 1.5)]);
        assert_eq!(stairs(&[], 9.0), []);
    }
}
