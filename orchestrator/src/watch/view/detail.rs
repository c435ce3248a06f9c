//! One proposal, over the whole screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Wrap};

use super::style::Style;
use crate::text::printable;
use crate::watch::detail::Detail;

/// Longest part of a line that is shown; wrapped, it would fill many screens.
const LONGEST: usize = 2_000;

pub(super) fn draw(detail: &Detail, from: usize, style: Style, frame: &mut Frame, area: Rect) {
    let percent = 100 * from / detail.lines.len().saturating_sub(1).max(1);
    let block = Block::bordered()
        .title(Line::from(style.strong(format!(" program {} ", detail.number))))
        .title_bottom(format!(" {percent} %  jk, space and page keys move, q or esc goes back "));
    // No more than fits: a source may have a hundred thousand lines.
    let lines = detail.lines.iter().skip(from).take(usize::from(area.height));
    let lines: Vec<Line> = lines.map(|line| Line::from(shown(line))).collect();
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).block(block), area);
}

fn shown(line: &str) -> String {
    let cut: String = line.chars().take(LONGEST).collect();
    let more = if cut.len() < line.len() { " ..." } else { "" };
    printable(&cut).replace('\t', "    ") + more
}
