//! What goes in and out of a protocol: candidates and results in, trials to run out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Decision;
use crate::problem::Metric;
use crate::trial::Arm;

/// A program to be measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Names the program: the hash of its source.
    pub program: String,
    /// Whether it is the baseline itself, whose score is 1 by definition.
    pub is_baseline: bool,
}

/// Randomness, from outside. What is drawn stands in the plan, and so in the stored trial.
pub trait Chance {
    /// A seed that was never used before.
    fn seed(&mut self) -> u64;
    /// A fair coin.
    fn coin(&mut self) -> bool;
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Run this trial.
    Run(Plan),
    /// No more trials are needed.
    Done(Decision),
}

/// What a trial is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The reference before the first candidate, and A/A trials of `evolve calibrate`: how noisy is the machine?
    Calibration,
    /// The reference measured anew, because its last trial is old.
    Reference,
    /// A first look at a candidate.
    Screen,
    /// A trial of a randomised pair.
    Confirm,
    /// A trial of one of the fixed protocols' two blocks.
    Fixed,
    /// A trial of the final report's pairs.
    Final,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Calibration, Self::Reference, Self::Screen, Self::Confirm, Self::Fixed, Self::Final];

    /// What a word of the database stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == word)
    }

    /// The word used in the database and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calibration => "calibration",
            Self::Reference => "reference",
            Self::Screen => "screen",
            Self::Confirm => "confirm",
            Self::Fixed => "fixed",
            Self::Final => "final",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One trial to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What for.
    pub stage: Stage,
    /// Whose code.
    pub arm: Arm,
    /// Adapter initialisation and data order.
    pub seed: u64,
    /// Which pair of the candidate it belongs to, from 0; a pair that is run again keeps its number.
    pub pair: Option<u32>,
    /// In a pair: whether the reference runs first. Decided by a coin.
    pub reference_first: Option<bool>,
    /// Position within the evaluation, from 0.
    pub index: u32,
    /// Trials foreseen in all, at most.
    pub of: u32,
    /// Numbers of the reference trials that it will be compared with, as far as they have run.
    pub references: Vec<u64>,
}

/// How a trial ended, for the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialResult {
    /// With numbers.
    Ok(Sample),
    /// Without any that count: crash, timeout, out of memory, NaN, or the kernel was not applied.
    Failed,
}

impl TrialResult {
    /// The numbers, if there are any and they are usable.
    pub fn sample(self) -> Option<Sample> {
        match self {
            Self::Ok(sample) if sample.is_usable() => Some(sample),
            _ => None,
        }
    }
}

/// What one successful trial gives to the statistics. All finite; speed and memory above 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// By the evaluator's clock.
    pub tokens_per_second: f64,
    /// Peak of MLX's allocator.
    pub peak_memory_bytes: f64,
    /// On held-out batches after the last step.
    pub validation_loss: f64,
}

impl Sample {
    /// One of the objectives' metrics.
    pub fn value(&self, metric: Metric) -> f64 {
        match metric {
            Metric::TokensPerSecond => self.tokens_per_second,
            Metric::PeakMemoryBytes => self.peak_memory_bytes,
        }
    }

    /// The metric's natural logarithm, turned so that more is better.
    pub fn goodness(&self, metric: Metric) -> f64 {
        let log = self.value(metric).ln();
        if metric.is_maximized() { log } else { -log }
    }

    /// Whether statistics can use it.
    pub fn is_usable(&self) -> bool {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        positive(self.tokens_per_second)
            && positive(self.peak_memory_bytes)
            && self.validation_loss.is_finite()
    }
}
