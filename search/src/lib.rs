//! Evolutionary search over programs, as a pure state machine with two verbs: `ask` and `tell`.
//!
//! Nothing in this crate reads a clock, a file, the environment or a global random number generator:
//! the same seed and the same outcomes in the same order give the same asks, bit for bit. A search is resumed by
//! telling it again what it was told. `clippy.toml` beside the sources forbids what would break this.
//!
//! - Proposals go round the islands by number; a child stays on its parent's island.
//! - Each island has a MAP-Elites grid. A program's features choose its cell, and the best program of each cell is an
//!   elite. When the range of a feature grows, everything that ever came to the island is put into its cell anew.
//! - Parents are drawn from the island's population: uniformly, from its archive (the best elites), or weighted by
//!   score. When a population is full, the worst program that isn't an elite leaves.
//! - After every so many outcomes an island passes its best elites on to the next one on the ring. They are the same
//!   programs there, not copies.
//! - What isn't measured never becomes a parent (but for an initial program that fails); it is counted, and
//!   remembered with the parent it was made from.

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
