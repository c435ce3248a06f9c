//! What type each column of the view `proposals` has. SQLite's columns have none of their own.

/// A column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Integer,
    Real,
    Text,
}

const INTEGERS: [&str; 13] = [
    "run",
    "number",
    "island",
    "parent",
    "generation",
    "peak_memory_bytes",
    "trials",
    "tokens_in",
    "tokens_cached",
    "tokens_reasoning",
    "tokens_estimated",
    "tokens_out",
    "requests",
];
const REALS: [&str; 6] =
    ["score", "tokens_per_second", "validation_loss", "evaluation_seconds", "cost", "latency_seconds"];

impl Type {
    pub(super) fn of(column: &str) -> Self {
        match column {
            name if INTEGERS.contains(&name) => Self::Integer,
            name if REALS.contains(&name) => Self::Real,
            _ => Self::Text,
        }
    }
}
