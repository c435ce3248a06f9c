//! Evolutionary search over programs, as a pure state machine with two verbs: `ask` and `tell`.
//!
//! Nothing in this crate reads a clock, a file, the environment or a global random number generator:
//! the same seed and the same outcomes in the same order give the same asks, bit for bit.

mod attempts;
pub mod code_hash;
pub mod code_index;
pub mod config;
pub mod entry;
mod feature;
mod island;
pub mod outcome;
pub mod program;
pub mod search;
mod select;
mod sketch;
mod tokens;
pub mod view;

pub use code_hash::{CodeHash, token_hash};
pub use code_index::CodeIndex;
pub use config::{ConfigError, FeatureBins, SearchConfig};
pub use entry::Entry;
pub use outcome::{Effect, Measured, Outcome, Score, Stage, Verdict};
pub use program::{Language, Program, ProgramId};
pub use search::{Added, Ask, Search};
pub use view::{CellView, IslandView};
