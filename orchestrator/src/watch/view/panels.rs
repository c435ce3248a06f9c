//! Tables beside the overview: islands, failures, proposers, device.

use program_db::view::Maker;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table, TableState, Wrap};

use super::style::Style;
use crate::text::{on_one_line, span, utc};
use crate::watch::status::{Budgets, Device, Island, Status};

/// Rows of the list of islands.
pub(super) fn island_rows(status: &Status) -> u16 {
    (status.islands.each.len() as u16).max(1)
}

pub(super) fn islands(status: &Status, scroll: usize, style: Style, frame: &mut Frame, area: Rect) {
    let block = Block::bordered().title(" islands ");
    if let Some(unknown) = &status.islands.unknown {
        frame
            .render_widget(Paragraph::new(on_one_line(unknown)).wrap(Wrap { trim: true }).block(block), area);
        return;
    }
    let row = |island: &Island| {
        let best = island.best.as_ref();
        Row::new([
            format!("{}{}", island.index, if island.active { "" } else { " (closed)" }),
            best.map_or_else(|| "-".to_owned(), |best| format!("{:.4}", best.score)),
            best.map_or_else(|| "-".to_owned(), |best| best.number.to_string()),
            island.elites.to_string(),
            island.told.to_string(),
            island.since_improvement.to_string(),
        ])
    };
    let widths = [11, 8, 8, 6, 8, 12].map(Constraint::Length);
    let head = ["island", "best", "program", "elites", "outcomes", "since better"];
    table(status.islands.each.iter().map(row), head, &widths, scroll, style, frame, area, block);
}

pub(super) fn endings(status: &Status, scroll: usize, style: Style, frame: &mut Frame, area: Rect) {
    let all: u64 = status.endings.iter().map(|ending| ending.count).sum();
    let row = |ending: &program_db::view::FailureKind| {
        Row::new([
            ending.kind.replace('_', " "),
            ending.count.to_string(),
            format!("{:.0} %", ending.count as f64 / all.max(1) as f64 * 100.0),
            format!("{}: {}", ending.latest, on_one_line(&ending.message)),
        ])
    };
    let widths = [Constraint::Length(15), Constraint::Length(6), Constraint::Length(5), Constraint::Fill(1)];
    let block = Block::bordered().title(" how proposals ended ");
    table(
        status.endings.iter().map(row),
        ["kind", "count", "", "the latest"],
        &widths,
        scroll,
        style,
        frame,
        area,
        block,
    );
}

pub(super) fn makers(status: &Status, scroll: usize, style: Style, frame: &mut Frame, area: Rect) {
    let row = |maker: &Maker| {
        let by = maker.model.as_deref().unwrap_or(&maker.proposer);
        Row::new([
            on_one_line(by),
            on_one_line(&maker.operator),
            maker.proposals.to_string(),
            maker.measured.to_string(),
            maker.improved.to_string(),
            format!("{:+.4}", maker.gain),
            maker.cost.map_or_else(|| "-".to_owned(), |cost| format!("{cost:.4}")),
        ])
    };
    let widths = [
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Length(5),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(7),
    ];
    let currency = if status.budgets.currency.is_empty() { "cost" } else { &status.budgets.currency };
    let head = ["by", "operator", "asked", "measured", "improv", "gain", currency];
    let block = Block::bordered().title(" proposers ");
    table(status.makers.iter().map(row), head, &widths, scroll, style, frame, area, block);
}

#[allow(clippy::too_many_arguments, reason = "one call for each table")]
fn table<'a, const N: usize>(
    rows: impl Iterator<Item = Row<'a>>,
    head: [&str; N],
    widths: &[Constraint],
    scroll: usize,
    style: Style,
    frame: &mut Frame,
    area: Rect,
    block: Block<'_>,
) {
    let head = Row::new(head.map(str::to_owned)).style(style.head());
    let table = Table::new(rows, widths).header(head).block(block);
    frame.render_stateful_widget(table, area, &mut TableState::new().with_offset(scroll));
}

/// Rows of the device's panel.
pub(super) fn device_rows(status: &Status) -> u16 {
    let lines = status.device.as_ref().map_or(1, |device| device_lines(device).len());
    // Two more, because some lines are wrapped.
    2 + (lines + budget_lines(&status.budgets).len()) as u16 + u16::from(has_speeds(status))
}

fn has_speeds(status: &Status) -> bool {
    status.device.as_ref().is_some_and(|device| device.speeds.len() > 1)
}

pub(super) fn device(status: &Status, style: Style, frame: &mut Frame, area: Rect) {
    let block = Block::bordered().title(" device and budgets ");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let mut lines =
        status.device.as_ref().map_or_else(|| vec!["nothing was measured yet".to_owned()], device_lines);
    lines.extend(budget_lines(&status.budgets));
    let [words, speeds] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(u16::from(has_speeds(status)))])
            .areas(inner);
    let lines: Vec<Line> = lines.iter().map(|line| Line::from(on_one_line(line))).collect();
    frame.render_widget(Paragraph::new(Text::from(lines)).wrap(Wrap { trim: true }), words);
    if let Some(device) = status.device.as_ref().filter(|_| has_speeds(status)) {
        draw_speeds(&device.speeds, style, frame, speeds);
    }
}

/// The reference's speed over the run; the axis begins a tenth of the range below the slowest.
fn draw_speeds(speeds: &[f64], style: Style, frame: &mut Frame, area: Rect) {
    let low = speeds.iter().copied().fold(f64::INFINITY, f64::min);
    let high = speeds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let base = low - 0.1 * (high - low).max(low * 0.02);
    let bars: Vec<u64> = speeds.iter().map(|speed| ((speed - base) * 1000.0) as u64).collect();
    let [name, bars_area] = Layout::horizontal([Constraint::Length(17), Constraint::Fill(1)]).areas(area);
    frame.render_widget("reference speed", name);
    let skipped = bars.len().saturating_sub(usize::from(bars_area.width));
    frame.render_widget(Sparkline::default().data(&bars[skipped..]).style(style.mark()), bars_area);
}

fn device_lines(device: &Device) -> Vec<String> {
    let mut lines = Vec::new();
    let name = device.name.iter().chain(&device.mlx).cloned().collect::<Vec<_>>().join(", ");
    if !name.is_empty() {
        lines.push(name);
    }
    let sandbox = device.sandbox.as_deref().unwrap_or("none");
    lines.push(format!("protocol {}, sandbox {sandbox}", device.protocol));
    let state = [
        device.load.map(|load| format!("load {load:.2} per core")),
        device.temperature.map(|degrees| format!("{degrees:.0} °C")),
        device.frequency.map(|clock| format!("{clock:.0} MHz")),
        device.on_battery.filter(|on| *on).map(|_| "ON BATTERY".to_owned()),
    ];
    let state: Vec<String> = state.into_iter().flatten().collect();
    if let Some(at) = device.measured_at.filter(|_| !state.is_empty()) {
        lines.push(format!("{} at {}", state.join(", "), utc(at)));
    }
    lines.extend(device.steadiness.iter().cloned());
    lines
}

fn budget_lines(budgets: &Budgets) -> Vec<String> {
    if let Some(unknown) = &budgets.unknown {
        return vec![format!("budgets: {unknown}")];
    }
    let all = [
        budgets.iterations.map(|of| format!("{of} proposals")),
        budgets.wall_seconds.map(|of| format!("{} a session", span(of))),
        budgets.target_score.map(|of| format!("score {of}")),
        budgets.cost.map(|of| format!("{of} {}", budgets.currency)),
        budgets.tokens.map(|of| format!("{of} tokens")),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    vec![format!("budgets by its configuration: {}", all.join(", "))]
}
