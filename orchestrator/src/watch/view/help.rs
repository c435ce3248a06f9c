//! What lies over the screen: the keys, and the question before a run is paused.

use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use crate::watch::status::Status;

const KEYS: &str = "\
j k, arrows     another outcome, another row
space, page     half a screen
g G             first, last
enter           what became of it and why, and its source
tab, h l, 1-5   the next panel, the one before, one of the five
esc             follow the newest outcome again
p               pause the run (asks first)
q, Ctrl-C       quit; the run goes on
?               this";

pub(super) fn keys(frame: &mut Frame, area: Rect) {
    boxed(" keys (any key closes) ", KEYS, 76, frame, area);
}

pub(super) fn pause(status: &Status, frame: &mut Frame, area: Rect) {
    let run = status.run;
    let words = format!(
        "The process that works on run {run} would be asked to stop, as by Ctrl-C there. Proposals under way are waited for, \
         evaluations are done again later; nothing is lost, and `evolve resume {run}` goes on.\n\n\
         y pauses it, any other key does not."
    );
    boxed(&format!(" pause run {run}? "), &words, 60, frame, area);
}

fn boxed(title: &str, words: &str, width: u16, frame: &mut Frame, area: Rect) {
    let width = width.min(area.width);
    // Wrapping at words takes some room of each line.
    let inside = usize::from(width.saturating_sub(10)).max(1);
    let rows: usize = words.lines().map(|line| line.chars().count().div_ceil(inside).max(1)).sum();
    let [area] = Layout::vertical([Constraint::Length(rows as u16 + 2)]).flex(Flex::Center).areas(area);
    let [area] = Layout::horizontal([Constraint::Length(width)]).flex(Flex::Center).areas(area);
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(title.to_owned());
    frame.render_widget(Paragraph::new(words.to_owned()).wrap(Wrap { trim: false }).block(block), area);
}
