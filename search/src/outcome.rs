//! How one proposal ended.
//!
//! A bad candidate is an outcome with its reason, never an error of ours and never the number zero.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::program::ProgramId;

/// The one number that search maximises. Always finite: NaN is never a score.
/// For kernel problems 1.0 is the baseline and 1.1 is 10 % better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Score(f64);

/// A score was NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("a score must be a finite number, not {0}")]
pub struct NotFinite(pub f64);

impl Score {
    /// Accepts finite numbers only.
    pub fn new(value: f64) -> Result<Self, NotFinite> {
        // `+ 0.0` turns -0.0 into 0.0, so that equal scores are equal bit for bit.
        if value.is_finite() { Ok(Self(value + 0.0)) } else { Err(NotFinite(value)) }
    }

    /// The number itself.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Eq for Score {}

impl Ord for Score {
    // The total order agrees with that of `f64`, because NaN and -0.0 can't occur.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl TryFrom<f64> for Score {
    type Error = NotFinite;
    fn try_from(value: f64) -> Result<Self, NotFinite> {
        Self::new(value)
    }
}

impl From<Score> for f64 {
    fn from(score: Score) -> f64 {
        score.0
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}", self.0)
    }
}

/// What the statistics say of a measured candidate against the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better in at least one objective beyond chance, and worse in none.
    Improved,
    /// Worse in at least one objective beyond chance.
    Regressed,
    /// The trials don't tell it apart from the baseline.
    Inconclusive,
}

impl Verdict {
    /// The word used in the database, the command line and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Improved => "improved",
            Self::Regressed => "regressed",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// The relative change of one metric, candidate over baseline, oriented so that positive is better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The metric's name, e.g. `tokens_per_second`, `peak_memory_bytes`.
    pub metric: String,
    /// Mean of the baseline arm, in the metric's own unit.
    pub baseline: f64,
    /// Mean of the candidate arm, in the metric's own unit.
    pub candidate: f64,
    /// Relative change, positive is better: 0.12 is "12 % better".
    pub change: f64,
    /// 95 % interval of `change`; absent when fewer than two trials stand in an arm.
    pub interval: Option<(f64, f64)>,
    /// Two-sided p-value; absent when the test can't be done (say, no variance in either arm and equal means).
    pub p_value: Option<f64>,
    /// Whether the difference is beyond chance under the protocol in use.
    pub significant: bool,
    /// Baseline and candidate trials that went into it.
    pub n: (u32, u32),
    /// The statistical method, e.g. `welch-t`.
    pub method: String,
}

/// A candidate that was measured to the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What search maximises.
    pub score: Score,
    /// The protocol's word on it.
    pub verdict: Verdict,
    /// Named numbers (means over trials, or whatever a command evaluator returned). All finite.
    pub metrics: BTreeMap<String, f64>,
    /// One per objective.
    pub effects: Vec<Effect>,
    /// The verdict's grounds in one plain sentence.
    pub reason: String,
    /// Standard error of the logarithm of the score; absent where it isn't known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_error: Option<f64>,
}

/// Where in the evaluation something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Turning source into a plugin.
    Compile,
    /// Numeric comparison with the reference.
    Check,
    /// A measured execution.
    Trial,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compile => "compile",
            Self::Check => "check",
            Self::Trial => "trial",
        })
    }
}

/// How one proposal ended. Exactly one per proposal number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The proposer gave no usable answer (endpoint error after all retries, empty or unreadable reply).
    NoProposal {
        /// What went wrong, without secrets.
        reason: String,
    },
    /// The reply's edits don't apply to the parent.
    Patch {
        /// Which edit, and why.
        reason: String,
    },
    /// The reply left the parent as it was.
    NoChange,
    /// The same code (but for spaces and comments) was proposed before; it isn't evaluated again.
    Duplicate {
        /// The program that has this code already.
        of: ProgramId,
    },
    /// Nearly the same code was proposed before; it isn't evaluated.
    NearDuplicate {
        /// The program that is most like it.
        of: ProgramId,
        /// Share of shingles that both have, 0 to 1.
        similarity: f64,
    },
    /// The source gate refused it.
    Gate {
        /// Line in the program, from 1, where there is one.
        line: Option<u32>,
        /// What is not allowed, and what to do instead.
        reason: String,
    },
    /// The compiler refused it.
    Compile {
        /// The compiler's words, trimmed to what matters.
        message: String,
    },
    /// It died, or returned an error.
    Crash {
        /// Where.
        stage: Stage,
        /// Panic message, signal or exit code.
        message: String,
    },
    /// It ran past its time limit and was killed.
    Timeout {
        /// Where.
        stage: Stage,
        /// The limit, in seconds.
        limit_seconds: f64,
    },
    /// It went past its memory limit.
    OutOfMemory {
        /// Where.
        stage: Stage,
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// Its numbers differ from the reference's.
    WrongResult {
        /// Which check, by how much.
        message: String,
    },
    /// Fine-tuning with it ends at another loss than with the baseline.
    LossDrift {
        /// Mean validation loss with the baseline.
        baseline: f64,
        /// Mean validation loss with the candidate.
        candidate: f64,
        /// Largest allowed |relative difference|.
        limit: f64,
    },
    /// A constraint of the problem is not met (the kernel was never applied, a metric is missing, ...).
    Rejected {
        /// Which, in one sentence.
        reason: String,
    },
    /// Measured to the end.
    Measured(Measured),
}

impl Outcome {
    /// The kind's name: used in the database, the command line and reports.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoProposal { .. } => "no_proposal",
            Self::Patch { .. } => "patch",
            Self::NoChange => "no_change",
            Self::Duplicate { .. } => "duplicate",
            Self::NearDuplicate { .. } => "near_duplicate",
            Self::Gate { .. } => "gate",
            Self::Compile { .. } => "compile",
            Self::Crash { .. } => "crash",
            Self::Timeout { .. } => "timeout",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::WrongResult { .. } => "wrong_result",
            Self::LossDrift { .. } => "loss_drift",
            Self::Rejected { .. } => "rejected",
            Self::Measured(_) => "measured",
        }
    }

    /// The measurement, if it came that far.
    pub fn measured(&self) -> Option<&Measured> {
        match self {
            Self::Measured(measured) => Some(measured),
            _ => None,
        }
    }

    /// The score, if it was measured.
    pub fn score(&self) -> Option<Score> {
        self.measured().map(|measured| measured.score)
    }

    /// Whether an evaluator was asked (rather than the proposal having failed before).
    pub fn was_evaluated(&self) -> bool {
        !matches!(
            self,
            Self::NoProposal { .. }
                | Self::Patch { .. }
                | Self::NoChange
                | Self::Duplicate { .. }
                | Self::NearDuplicate { .. }
        )
    }
}

impl fmt::Display for Outcome {
    /// One line, plain words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProposal { reason } => write!(f, "no proposal: {reason}"),
            Self::Patch { reason } => write!(f, "patch does not apply: {reason}"),
            Self::NoChange => f.write_str("no change to the parent"),
            Self::Duplicate { of } => write!(f, "duplicate of program {of}"),
            Self::NearDuplicate { of, similarity } => {
                write!(f, "{:.0} % like program {of}, which is too near", similarity * 100.0)
            }
            Self::Gate { line: Some(line), reason } => write!(f, "refused at line {line}: {reason}"),
            Self::Gate { line: None, reason } => write!(f, "refused: {reason}"),
            Self::Compile { message } => {
                write!(f, "does not compile: {}", message.lines().next().unwrap_or_default())
            }
            Self::Crash { stage, message } => {
                write!(f, "crashed in {stage}: {}", message.lines().next().unwrap_or_default())
            }
            Self::Timeout { stage, limit_seconds } => {
                write!(f, "timed out in {stage} after {limit_seconds} s")
            }
            Self::OutOfMemory { stage, limit_bytes } => {
                write!(f, "out of memory in {stage} (limit {} MB)", limit_bytes / 1_000_000)
            }
            Self::WrongResult { message } => write!(f, "wrong result: {message}"),
            Self::LossDrift { baseline, candidate, limit } => {
                write!(f, "loss drifted from {baseline:.4} to {candidate:.4} (limit {:.1} %)", limit * 100.0)
            }
            Self::Rejected { reason } => write!(f, "rejected: {reason}"),
            Self::Measured(measured) => write!(f, "{}, score {}", measured.verdict.as_str(), measured.score),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_and_infinity_are_not_scores() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Score::new(value).is_err(), "{value} was accepted");
        }
        assert!(serde_json::from_str::<Score>("null").is_err());
    }

    #[test]
    fn scores_order_as_numbers_and_minus_zero_is_zero() {
        let zero = Score::new(0.0).unwrap();
        assert_eq!(Score::new(-0.0).unwrap().cmp(&zero), std::cmp::Ordering::Equal);
        assert!(Score::new(1.0).unwrap() > zero);
    }

    #[test]
    fn outcome_survives_json_with_its_kind_as_tag() {
        let outcome = Outcome::Timeout { stage: Stage::Trial, limit_seconds: 20.0 };
        let json = serde_json::to_value(&outcome).unwrap();
        assert_eq!(json["kind"], outcome.kind());
        assert_eq!(serde_json::from_value::<Outcome>(json).unwrap(), outcome);
    }
}
