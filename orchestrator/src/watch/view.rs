//! The screen: from a state to cells. Pure.
//!
//! Nothing depends on colours alone: what is chosen is also reversed, what is good or bad is also said. All stored text goes through
//! `text::printable`, so that it can't command the terminal.

mod chart;
mod detail;
mod help;
mod outcomes;
mod panels;
mod style;
mod top;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Wrap};

use self::style::Style;
use super::state::{Over, State, Tab};
use super::status::Status;

/// From this size on all panels are on the first tab.
const WIDE: (u16, u16) = (120, 32);

/// Least rows of the chart with its frame; below it is left out.
const CHART: u16 = 6;

/// Draws the state. Works in any size, if only by leaving things out.
pub fn draw(state: &State, frame: &mut Frame) {
    let style = Style::new(state.colour);
    let area = frame.area();
    if area.width < 4 || area.height < 2 {
        return;
    }
    let Some(status) = &state.status else {
        let words = state.failed.as_deref().unwrap_or("reading the run");
        let words = Paragraph::new(crate::text::on_one_line(words)).wrap(Wrap { trim: true });
        frame.render_widget(words, area);
        return;
    };
    if let Over::Detail(detail, line) = &state.over {
        detail::draw(detail, *line, style, frame, area);
        return;
    }
    let top_rows = top::rows(status, area.height);
    let [head, tabs, body, foot] = Layout::vertical([
        Constraint::Length(top_rows),
        Constraint::Length(u16::from(area.height >= 10)),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    top::draw(status, style, frame, head);
    draw_tabs(state, style, frame, tabs);
    draw_body(state, status, style, frame, body);
    draw_foot(state, style, frame, foot);
    match &state.over {
        Over::Help => help::keys(frame, area),
        Over::Pause => help::pause(status, frame, area),
        Over::Nothing | Over::Opening(_) | Over::Detail(..) => {}
    }
}

fn draw_tabs(state: &State, style: Style, frame: &mut Frame, area: Rect) {
    let mut spans = Vec::new();
    for tab in Tab::ALL {
        let name = format!(" {} ", tab.name());
        spans.push(if tab == state.tab { style.chosen(name) } else { style.soft(name) });
    }
    frame.render_widget(Line::from(spans), area);
}

fn draw_body(state: &State, status: &Status, style: Style, frame: &mut Frame, area: Rect) {
    match state.tab {
        Tab::Overview if area.width >= WIDE.0 && area.height + 6 >= WIDE.1 => {
            let [left, right] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(area);
            draw_overview(state, status, style, frame, left);
            let each = [
                Constraint::Length(3 + panels::island_rows(status).min(8)),
                Constraint::Length(3 + (status.endings.len() as u16).clamp(1, 8)),
                Constraint::Fill(1),
                Constraint::Length(2 + panels::device_rows(status).min(12)),
            ];
            let [islands, endings, makers, device] = Layout::vertical(each).areas(right);
            panels::islands(status, 0, style, frame, islands);
            panels::endings(status, 0, style, frame, endings);
            panels::makers(status, 0, style, frame, makers);
            panels::device(status, style, frame, device);
        }
        Tab::Overview => draw_overview(state, status, style, frame, area),
        Tab::Islands => panels::islands(status, state.scroll, style, frame, area),
        Tab::Endings => panels::endings(status, state.scroll, style, frame, area),
        Tab::Makers => panels::makers(status, state.scroll, style, frame, area),
        Tab::Device => panels::device(status, style, frame, area),
    }
}

fn draw_overview(state: &State, status: &Status, style: Style, frame: &mut Frame, area: Rect) {
    let chart = area.height / 2;
    let chart = if chart < CHART { 0 } else { chart };
    let [above, below] = Layout::vertical([Constraint::Length(chart), Constraint::Fill(1)]).areas(area);
    if chart > 0 {
        chart::draw(status, style, frame, above);
    }
    outcomes::draw(state, status, style, frame, below);
}

/// What there is to say, else the keys.
fn draw_foot(state: &State, style: Style, frame: &mut Frame, area: Rect) {
    let line = match (&state.failed, &state.said, &state.over) {
        (Some(failed), ..) => style.bad(format!(
            "the last reading failed, this is from before: {}",
            crate::text::on_one_line(failed)
        )),
        (_, Some(said), _) => style.strong(crate::text::on_one_line(said)),
        (_, _, Over::Opening(number)) => style.soft(format!("reading program {number}")),
        _ => style.soft("q quit  ? help  tab next  jk move  enter open  p pause the run"),
    };
    frame.render_widget(Line::from(line), area);
}
