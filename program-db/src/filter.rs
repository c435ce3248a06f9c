//! The filter language of `evolve query`: `score > 1.1 and island = 2 order by score desc limit 5`.
//!
//! An expression compares columns of the view `proposals` (see [`COLUMNS`]) with values: `=`, `!=`, `<`, `<=`, `>`,
//! `>=`, `~` (contains, whatever the case), `!~`, `is null`, `is not null`; joined by `and`, `or`, `not` and
//! parentheses; then, if wanted, `order by COLUMN [asc | desc], ...` and `limit N`. `metrics.NAME` is a metric by its
//! name. Text stands in single or double quotes, which a single word doesn't need. Numbers may have a unit: `512 MB`,
//! `2 min`, `10k`, `110 %`. A comparison with a missing value is false, so that `not score > 1` also finds what has no
//! score; `!=` and `!~` are true for it.
//!
//! It becomes SQL with parameters: nothing of the user's text gets into the SQL.

use std::fmt;
use std::ops::Range;

mod column;
mod parser;
mod sql;
mod token;

pub use column::{COLUMNS, Column, ColumnKind};
pub(crate) use sql::Bind;

use column::Field;

/// A parsed filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    condition: Option<Condition>,
    order: Vec<Order>,
    limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Compare { field: Field, comparison: Comparison, value: Operand },
    Contains { field: Field, text: String, negated: bool },
    IsNull { field: Field, negated: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Number(f64),
    Text(String),
}

#[derive(Debug, Clone, PartialEq)]
struct Order {
    field: Field,
    descending: bool,
}

impl Filter {
    /// Parses an expression. The empty one matches everything.
    ///
    /// # Errors
    /// Where it is wrong, and what might be meant.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parser::parse(text)
    }
}

/// An expression is wrong. Its text shows where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// The expression.
    text: String,
    /// Which characters (not bytes) of it.
    at: Range<usize>,
    /// What is wrong, and what might be meant.
    message: String,
}

impl FilterError {
    fn new(text: &str, bytes: Range<usize>, message: impl Into<String>) -> Self {
        let characters = |to: usize| text[..to].chars().count();
        Self {
            at: characters(bytes.start)..characters(bytes.end),
            text: text.to_owned(),
            message: message.into(),
        }
    }

    /// What is wrong, and what might be meant.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Which characters (from 0; not bytes) of the expression.
    pub fn position(&self) -> Range<usize> {
        self.at.clone()
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line: String = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        writeln!(f, "filter, character {}: {}", self.at.start + 1, self.message)?;
        writeln!(f, "  {line}")?;
        write!(f, "  {}{}", " ".repeat(self.at.start), "^".repeat(self.at.len().max(1)))
    }
}

impl std::error::Error for FilterError {}
