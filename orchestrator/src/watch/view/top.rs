//! The lines above everything: which run, how far it is, and what it has found.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use super::style::Style;
use crate::text::{on_one_line, span};
use crate::watch::status::{Activity, Status};

/// Cells of the bar.
const BAR: usize = 20;

/// Rows that the head takes on a screen of so many.
pub(super) fn rows(status: &Status, height: u16) -> u16 {
    let all = 3 + u16::from(status.alarm.is_some());
    all.min(height.saturating_sub(4)).max(1)
}

pub(super) fn draw(status: &Status, style: Style, frame: &mut Frame, area: Rect) {
    let mut lines = vec![first(status, style), second(status, style), third(status, style)];
    if let Some(alarm) = &status.alarm {
        // Before all else where there is little room.
        lines.insert(1, Line::from(style.bad(alarm.clone())));
    }
    let rows = Layout::vertical(vec![Constraint::Length(1); usize::from(area.height)]).split(area);
    for (line, row) in lines.into_iter().zip(rows.iter()) {
        frame.render_widget(line, *row);
    }
}

fn first(status: &Status, style: Style) -> Line<'static> {
    let words = status.activity.words();
    let activity = match &status.activity {
        Activity::Running { .. } => style.good(words),
        Activity::Killed => style.bad(words),
        _ => style.strong(words),
    };
    Line::from(vec![
        style.strong(format!("run {} ", status.run)),
        style.plain(format!("{}, ", on_one_line(&status.title))),
        activity,
        style.soft(format!("  seed {}  {}", status.seed, on_one_line(&status.database))),
    ])
}

fn second(status: &Status, style: Style) -> Line<'static> {
    let mut spans = Vec::new();
    if let Some(share) = status.share() {
        let full = (share * BAR as f64) as usize;
        spans.push(style.strong("█".repeat(full)));
        spans.push(style.soft("░".repeat(BAR - full)));
        spans.push(style.plain(format!(" {:.0} %, ", share * 100.0)));
    }
    spans.push(style.plain(format!("{}, {} evaluated", status.progress(), status.evaluated)));
    if status.pending > 0 {
        spans.push(style.plain(format!(", {} pending", status.pending)));
    }
    spans.push(style.plain(format!(", {}", span(status.seconds))));
    if let Some(last) = status.last_proposal.filter(|_| status.activity.is_running()) {
        let ago = span((status.at - last) as f64 / 1000.0);
        spans.push(style.soft(format!(", last proposal {ago} ago")));
    }
    Line::from(spans)
}

fn third(status: &Status, style: Style) -> Line<'static> {
    let mut spans = vec![style.strong(status.best_words())];
    if let Some(cost) = status.cost_words() {
        spans.push(style.plain(format!(", {cost}")));
    }
    Line::from(spans)
}
