//! Evolutionary search over programs, as a pure state machine with two verbs: `ask` and `tell`.
//!
//! Nothing in this crate reads a clock, a file, the environment or a global random number generator:
//! the same seed and the same outcomes in the same order give the same asks, bit for bit.

pub mod outcome;
pub mod program;

pub use outcome::{Effect, Measured, Outcome, Score, Stage, Verdict};
pub use program::{Language, Program, ProgramId};
