//! The last proposals and how they ended.

use program_db::view::Listed;
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Row, Table, TableState};

use super::style::Style;
use crate::text::on_one_line;
use crate::watch::state::State;
use crate::watch::status::Status;

/// Longest part of a message that is looked at: no screen is wider.
const LONGEST: usize = 400;

pub(super) fn draw(state: &State, status: &Status, style: Style, frame: &mut Frame, area: Rect) {
    let mut block = Block::bordered().title(" last proposals ");
    if state.chosen.is_none() {
        block = block.title_bottom(" following the newest ");
    }
    let rows = status.recent.iter().map(|listed| row(listed, status, style));
    let widths = [
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(4),
        Constraint::Length(18),
        Constraint::Fill(1),
    ];
    let head = Row::new(["number", "score", "isl.", "by", "outcome"]).style(style.head());
    let table = Table::new(rows, widths)
        .header(head)
        .block(block)
        .highlight_symbol(">")
        .row_highlight_style(style.row());
    let mut place =
        TableState::new().with_selected((!status.recent.is_empty()).then(|| state.chosen_index()));
    frame.render_stateful_widget(table, area, &mut place);
}

fn row(listed: &Listed, status: &Status, style: Style) -> Row<'static> {
    let is_best = status.best.as_ref().is_some_and(|best| best.number == listed.number);
    let score = listed.score.map_or_else(|| "-".to_owned(), |score| format!("{score:.4}"));
    let score = if is_best { style.good(score) } else { style.plain(score) };
    let by = format!("{} {}", listed.operator, listed.by());
    Row::new(
        [
            Span::raw(listed.number.to_string()),
            score,
            Span::raw(listed.island.to_string()),
            Span::raw(shortened(&by, 40)),
            outcome(listed, is_best, style),
        ]
        .map(Line::from),
    )
}

fn outcome(listed: &Listed, is_best: bool, style: Style) -> Span<'static> {
    let message = shortened(listed.message.as_deref().unwrap_or_default(), LONGEST);
    match (listed.kind.as_deref(), listed.verdict.as_deref()) {
        (None, _) => style.soft("waits for its evaluation"),
        (Some("measured"), Some("improved")) if is_best => style.good(format!("{message}  <- best")),
        (Some("measured"), _) if is_best => style.strong(format!("{message}  <- best")),
        (Some("measured"), Some("improved")) => style.good(message),
        (Some("measured"), _) => style.plain(message),
        _ => style.soft(message),
    }
}

/// Stored text for one cell.
fn shortened(text: &str, most: usize) -> String {
    on_one_line(&text.chars().take(most).collect::<String>())
}
