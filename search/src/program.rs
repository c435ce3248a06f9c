//! A program: stored source with its lineage.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A program's number within its run, which is the number of the proposal it came from.
/// The initial program is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProgramId(pub u64);

impl ProgramId {
    /// The initial program of every run.
    pub const INITIAL: Self = Self(0);
}

impl fmt::Display for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ProgramId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// The language a program is written in: decides comments, tokens and which rewrite rules fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// Rust.
    Rust,
    /// Python.
    Python,
    /// Anything else: nothing is known of its comments and spaces, so all but trailing spaces are kept.
    Other,
}

/// A candidate as search sees it when its outcome is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Number within the run.
    pub id: ProgramId,
    /// The program it was made from; none for the initial program.
    pub parent: Option<ProgramId>,
    /// The island it was asked for.
    pub island: usize,
    /// Lineage depth: the initial program is 0, a child is its parent's plus one.
    pub generation: u32,
    /// The whole source text.
    pub source: String,
}
