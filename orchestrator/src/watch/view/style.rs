//! How things look, with colours or without.
#![allow(clippy::unused_self, reason = "every look is asked for in one way")]

use ratatui::style::{Color, Modifier, Style as Cells, Stylize as _};
use ratatui::text::Span;

/// With colours or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    colour: bool,
}

impl Style {
    pub(super) fn new(colour: bool) -> Self {
        Self { colour }
    }

    fn coloured(self, text: String, colour: Color) -> Span<'static> {
        if self.colour { Span::styled(text, Cells::new().fg(colour)) } else { Span::raw(text) }
    }

    pub(super) fn plain(self, text: impl Into<String>) -> Span<'static> {
        Span::raw(text.into())
    }

    pub(super) fn strong(self, text: impl Into<String>) -> Span<'static> {
        Span::raw(text.into()).bold()
    }

    pub(super) fn soft(self, text: impl Into<String>) -> Span<'static> {
        if self.colour { self.coloured(text.into(), Color::DarkGray) } else { Span::raw(text.into()).dim() }
    }

    pub(super) fn good(self, text: impl Into<String>) -> Span<'static> {
        self.coloured(text.into(), Color::Green).bold()
    }

    pub(super) fn bad(self, text: impl Into<String>) -> Span<'static> {
        self.coloured(text.into(), Color::Red).bold()
    }

    pub(super) fn chosen(self, text: impl Into<String>) -> Span<'static> {
        Span::raw(text.into()).reversed()
    }

    /// A chosen row.
    pub(super) fn row(self) -> Cells {
        Cells::new().add_modifier(Modifier::REVERSED)
    }

    /// A table's head.
    pub(super) fn head(self) -> Cells {
        Cells::new().add_modifier(Modifier::BOLD)
    }

    /// Marks in drawings.
    pub(super) fn mark(self) -> Cells {
        if self.colour { Cells::new().fg(Color::Cyan) } else { Cells::new() }
    }

    /// Marks that stand back.
    pub(super) fn back(self) -> Cells {
        if self.colour { Cells::new().fg(Color::DarkGray) } else { Cells::new().add_modifier(Modifier::DIM) }
    }

    /// Marks of intervals.
    pub(super) fn spread(self) -> Cells {
        if self.colour { Cells::new().fg(Color::Yellow) } else { Cells::new() }
    }
}
