//! Evolutionary search over programs, as a pure state machine with two verbs: `ask` and `tell`.
//!
//! Nothing in this crate reads a clock, a file, the environment or a global random number generator:
//! the same seed and the same outcomes in the same order give the same asks, bit for bit. A search is resumed by
//! telling it again what it was told. `clippy.toml` beside the sources forbids what would break this.
//!
//! - Each island has a MAP-Elites grid. A program's features choose its cell, and the best program of each cell is an
//!   elite. When the range of a feature grows, everything that ever came to the island is put into its cell anew.
//! - Parents are drawn from the island's population by one of several strategies ([`Selection`]). When a population is full,
//!   the worst program that isn't an elite leaves. A child stays on its parent's island.
//! - After every so many outcomes an island passes its best elites on to others ([`Topology`]). They are the same
//!   programs there, not copies.
//! - An island on which nothing improves asks for wider changes, then a new island begins ([`Stagnation`]).
//! - A bandit may choose proposers, operators and models ([`Bandit`]); marked numbers are tuned between other proposals ([`Tune`]).
//! - What a model broke may be given back to be mended, once ([`Repair`]).
//! - What isn't measured never becomes a parent (but for an initial program that fails); it is counted, and
//!   remembered with the parent it was made from.

mod arms;
mod attempts;
pub mod bandit;
pub mod code_hash;
pub mod code_index;
pub mod config;
pub mod early_stopping;
pub mod entry;
pub mod exchange;
mod feature;
pub mod fingerprint;
mod island;
mod islands;
pub mod novelty;
pub mod outcome;
mod probes;
pub mod program;
pub mod proposal;
pub mod repair;
pub mod search;
mod select;
pub mod selection;
mod sketch;
pub mod stagnation;
mod tokens;
pub mod tune;
pub mod view;

pub use bandit::{Arm, Bandit, Policy};
pub use code_hash::{CodeHash, token_hash};
pub use code_index::CodeIndex;
pub use config::{ConfigError, FeatureBins, SearchConfig};
pub use early_stopping::EarlyStopping;
pub use entry::Entry;
pub use exchange::Topology;
pub use fingerprint::Fingerprint;
pub use novelty::{EmbeddingIndex, Nearest, Novelty, NoveltyIndex, SketchIndex};
pub use outcome::{Effect, Measured, Outcome, Score, Stage, Verdict};
pub use program::{Language, Program, ProgramId};
pub use proposal::Proposal;
pub use repair::{REPAIR, Repair};
pub use search::{Added, Ask, CROSSOVER, Search};
pub use selection::{Objective, Selection};
pub use stagnation::{Answer, Stagnation};
pub use tune::{PROBE, TUNE, Tune};
pub use view::{CellView, IslandView};
