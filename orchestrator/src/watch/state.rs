//! What is on the screen, as a function of what happened. Pure: no clock, no database, no terminal.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use search::ProgramId;

use super::detail::Detail;
use super::status::Status;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A key was pressed.
    Key(KeyEvent),
    /// The run was read.
    Read(Box<Status>),
    /// A proposal that was asked for was read.
    Opened(Detail),
    /// A wish was carried out, or could not be: one line for the user.
    Said(String),
    /// The database could not be read; it will be tried again.
    Failed(String),
    /// So many rows fit on the screen at once.
    Height(u16),
    /// It is so late, in milliseconds since the Unix epoch.
    Clock(i64),
}

/// What the outside is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// End.
    Quit,
    /// Read this proposal.
    Open(ProgramId),
    /// Ask the process that works on the run to stop.
    Pause,
}

/// What the larger part of a small screen shows; a large screen has all of them on the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tab {
    /// Scores and last outcomes.
    #[default]
    Overview,
    /// Islands.
    Islands,
    /// How proposals ended.
    Endings,
    /// Who proposed, and at what price.
    Makers,
    /// The device, and the budgets.
    Device,
}

impl Tab {
    /// All, in order.
    pub const ALL: [Self; 5] = [Self::Overview, Self::Islands, Self::Endings, Self::Makers, Self::Device];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Islands => "islands",
            Self::Endings => "failures",
            Self::Makers => "proposers",
            Self::Device => "device",
        }
    }

    fn step(self, by: usize) -> Self {
        let index = Self::ALL.iter().position(|tab| *tab == self).unwrap_or_default();
        Self::ALL[(index + by) % Self::ALL.len()]
    }
}

/// What lies over the rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Over {
    /// Nothing.
    #[default]
    Nothing,
    /// The keys.
    Help,
    /// Whether the run should pause.
    Pause,
    /// A proposal that is being read.
    Opening(ProgramId),
    /// A proposal, from this line on.
    Detail(Detail, usize),
}

/// What is on the screen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// The run; none before it was read.
    pub status: Option<Box<Status>>,
    /// What is shown of it.
    pub tab: Tab,
    /// What lies over it.
    pub over: Over,
    /// The outcome that is chosen; none: the newest, whichever that is.
    pub chosen: Option<ProgramId>,
    /// The first row shown of a table.
    pub scroll: usize,
    /// The last thing that the user was told.
    pub said: Option<String>,
    /// Why the last reading failed.
    pub failed: Option<String>,
    /// Whether there may be colours.
    pub colour: bool,
    /// Rows that fit on the screen.
    pub height: u16,
}

impl State {
    /// Before anything was read.
    pub fn new(colour: bool) -> Self {
        Self { colour, ..Self::default() }
    }

    /// What follows.
    pub fn on(&mut self, event: Event) -> Option<Effect> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => return self.key(key),
            Event::Read(status) => {
                self.failed = None;
                // What has scrolled out of the list can't stay chosen.
                let is_listed = |chosen: &ProgramId| status.recent.iter().any(|row| row.number == *chosen);
                self.chosen = self.chosen.filter(is_listed);
                self.status = Some(status);
            }
            Event::Opened(detail) if self.over == Over::Opening(detail.number) => {
                self.over = Over::Detail(detail, 0);
            }
            // The end of a key's press, or an answer that nobody waits for any more.
            Event::Key(_) | Event::Opened(_) => {}
            Event::Said(words) => {
                if matches!(self.over, Over::Opening(_)) {
                    self.over = Over::Nothing;
                }
                self.said = Some(words);
            }
            Event::Failed(words) => self.failed = Some(words),
            Event::Height(rows) => self.height = rows,
            Event::Clock(now) => {
                if let Some(status) = &mut self.status {
                    status.at = now;
                }
            }
        }
        None
    }

    /// Where the chosen outcome stands among the recent ones.
    pub fn chosen_index(&self) -> usize {
        let recent = self.status.as_ref().map_or(&[][..], |status| &status.recent);
        self.chosen.and_then(|chosen| recent.iter().position(|row| row.number == chosen)).unwrap_or_default()
    }

    fn key(&mut self, key: KeyEvent) -> Option<Effect> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c' | 'd') => Some(Effect::Quit),
                _ => None,
            };
        }
        match &mut self.over {
            Over::Nothing => self.plain_key(key.code),
            Over::Help | Over::Opening(_) => {
                self.over = Over::Nothing;
                None
            }
            Over::Pause => {
                self.over = Over::Nothing;
                matches!(key.code, KeyCode::Char('y' | 'Y')).then_some(Effect::Pause)
            }
            Over::Detail(detail, line) => {
                let page = usize::from(self.height.saturating_sub(4)).max(1);
                let last = detail.lines.len().saturating_sub(1);
                match moved(key.code, *line, last, page) {
                    Some(to) => *line = to,
                    None => match key.code {
                        KeyCode::Esc
                        | KeyCode::Enter
                        | KeyCode::Backspace
                        | KeyCode::Left
                        | KeyCode::Char('q' | 'h') => self.over = Over::Nothing,
                        KeyCode::Char('?') => self.over = Over::Help,
                        _ => {}
                    },
                }
                None
            }
        }
    }

    fn plain_key(&mut self, code: KeyCode) -> Option<Effect> {
        self.said = None;
        match code {
            KeyCode::Char('q') => return Some(Effect::Quit),
            KeyCode::Char('?') => self.over = Over::Help,
            KeyCode::Char('p') => self.wish_to_pause(),
            KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => self.turn_to(self.tab.step(1)),
            KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => {
                self.turn_to(self.tab.step(Tab::ALL.len() - 1));
            }
            KeyCode::Char(digit @ '1'..='5') => self.turn_to(Tab::ALL[digit as usize - '1' as usize]),
            KeyCode::Enter if self.tab == Tab::Overview => {
                let index = self.chosen_index();
                let number = self.status.as_ref()?.recent.get(index)?.number;
                self.over = Over::Opening(number);
                return Some(Effect::Open(number));
            }
            KeyCode::Esc => self.chosen = None,
            code => self.walk(code),
        }
        None
    }

    fn turn_to(&mut self, tab: Tab) {
        self.tab = tab;
        self.scroll = 0;
    }

    fn wish_to_pause(&mut self) {
        match &self.status {
            Some(status) if status.activity.is_running() => self.over = Over::Pause,
            Some(status) => {
                self.said =
                    Some(format!("run {} is not running; `evolve resume {0}` goes on with it", status.run));
            }
            None => {}
        }
    }

    fn walk(&mut self, code: KeyCode) {
        let Some(status) = &self.status else { return };
        let page = usize::from(self.height / 2).max(1);
        if self.tab == Tab::Overview {
            let last = status.recent.len().saturating_sub(1);
            if let Some(to) = moved(code, self.chosen_index(), last, page) {
                // At the top one follows what comes.
                self.chosen = if to == 0 { None } else { status.recent.get(to).map(|row| row.number) };
            }
            return;
        }
        let rows = match self.tab {
            Tab::Islands => status.islands.each.len(),
            Tab::Endings => status.endings.len(),
            Tab::Makers => status.makers.len(),
            Tab::Overview | Tab::Device => 0,
        };
        self.scroll = moved(code, self.scroll, rows.saturating_sub(1), page).unwrap_or(self.scroll);
    }
}

/// Where a key leads from a place in a list; none if it leads nowhere.
fn moved(code: KeyCode, from: usize, last: usize, page: usize) -> Option<usize> {
    Some(match code {
        KeyCode::Down | KeyCode::Char('j') => (from + 1).min(last),
        KeyCode::Up | KeyCode::Char('k') => from.saturating_sub(1),
        KeyCode::PageDown | KeyCode::Char(' ') => (from + page).min(last),
        KeyCode::PageUp => from.saturating_sub(page),
        KeyCode::Home | KeyCode::Char('g') => 0,
        KeyCode::End | KeyCode::Char('G') => last,
        _ => return None,
    })
}
