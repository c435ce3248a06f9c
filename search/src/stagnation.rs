//! What an island does that finds nothing better: the `stagnation` section.

use serde::Deserialize;

/// When an island is stagnant, and what is done about it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stagnation {
    /// Outcomes told to an island without a better program on it, after which it is stagnant. 0: never.
    pub patience: u64,
    /// Levels of wider mutation: after each further `patience` outcomes proposals are asked to change one level more, up
    /// to this. 0: never wider.
    pub max_widening: u32,
    /// What is done when `patience` has passed once more at the widest level, and again each time as much has passed.
    pub answer: Answer,
    /// Most islands that are searched at once (or `num_islands`, if that is more); beyond it the one with the worst best is given up for a new one.
    pub max_islands: usize,
}

/// What is done about an island that wider mutation didn't help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Nothing more: it goes on with the widest mutation.
    Widen,
    /// It is given up, and a new island begins with wide changes of programs from all archives.
    Restart,
    /// A new island begins beside it, with wide changes of programs from all archives.
    Spawn,
}

impl Default for Stagnation {
    fn default() -> Self {
        Self { patience: 30, max_widening: 3, answer: Answer::Spawn, max_islands: 5 }
    }
}

impl Stagnation {
    /// How much wider than usual to change programs, so many outcomes after the last improvement.
    pub(crate) fn widening(&self, since: u64) -> u32 {
        let levels = since.checked_div(self.patience).unwrap_or(0);
        u32::try_from(levels).unwrap_or(u32::MAX).min(self.max_widening)
    }

    /// Whether the answer is due after this many outcomes.
    pub(crate) fn is_answer_due(&self, since: u64) -> bool {
        let period = self.patience * (u64::from(self.max_widening) + 1);
        self.answer != Answer::Widen && period > 0 && since > 0 && since.is_multiple_of(period)
    }

    /// From 0 for an island that has just improved to 1 for a stagnant one. Always 1 if none ever counts as stagnant.
    pub(crate) fn degree(&self, since: u64) -> f64 {
        if self.patience == 0 { 1.0 } else { (since as f64 / self.patience as f64).min(1.0) }
    }

    /// The weight of an island in sharing out proposals.
    pub(crate) fn share(&self, since: u64) -> f64 {
        if self.patience == 0 { 1.0 } else { 1.0 / (1.0 + since as f64 / self.patience as f64) }
    }
}
