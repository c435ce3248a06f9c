//! The protocol's last word, as the database has it.

use std::fmt::Write as _;

use search::{Effect, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::numbers::{p_value, percent, three_digits};

/// The statistics of one candidate or comparison. Fields that a newer evaluator adds are passed over, and those of an older
/// one may be missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The protocol's word on it.
    pub verdict: Verdict,
    /// ln of the score; 0 is the baseline.
    #[serde(default)]
    pub log_score: Option<f64>,
    /// One per objective.
    #[serde(default)]
    pub effects: Vec<Effect>,
    /// Whether fine-tuning still ends where it should.
    #[serde(default)]
    pub loss: Option<Loss>,
    /// That the candidate is better, if that is claimed.
    #[serde(default)]
    pub claim: Option<Claim>,
    /// The grounds in one plain sentence.
    #[serde(default)]
    pub reason: String,
}

/// Validation losses of both arms, and whether they are close enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Mean over the trials compared with.
    pub baseline: f64,
    /// Mean over the candidate's trials.
    pub candidate: f64,
    /// Largest allowed |relative difference|.
    pub limit: f64,
    /// Mean relative difference.
    #[serde(default)]
    pub difference: Option<f64>,
    /// 90 % interval of the difference.
    #[serde(default)]
    pub interval: Option<(f64, f64)>,
    /// Pairs, or trials of the candidate.
    #[serde(default)]
    pub n: u32,
    /// That the difference is not below −limit.
    #[serde(default)]
    pub p_lower: Option<f64>,
    /// That the difference is not above the limit.
    #[serde(default)]
    pub p_upper: Option<f64>,
    /// How it was decided.
    #[serde(default)]
    pub method: String,
    /// Whether the candidate passes.
    pub holds: bool,
}

/// A claim of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Metrics that are better each for itself. If empty, the claim is that at least one is.
    #[serde(default)]
    pub metrics: Vec<String>,
    /// ln of the evidence.
    #[serde(default)]
    pub log_e: Option<f64>,
    /// The level that it had to reach.
    pub level: f64,
}

impl Judgement {
    /// Reads it; none if it can't be understood (a report with less in it is better than none).
    pub fn read(json: &Value) -> Option<Self> {
        Self::deserialize(json).ok()
    }
}

impl Loss {
    /// In one line, without its end.
    pub fn words(&self) -> String {
        let mut text = match (self.method.as_str(), self.holds) {
            ("not-compared", _) => return "loss: not compared".to_owned(),
            ("definition", _) => return "loss: the baseline's own".to_owned(),
            ("tost-paired", true) => format!("loss: equivalent within ±{}", percent(self.limit)),
            ("tost-paired", false) => {
                format!("loss: NOT shown to be equivalent within ±{}", percent(self.limit))
            }
            (_, true) => format!("loss: within ±{}", percent(self.limit)),
            (_, false) => format!("loss: NOT within ±{}", percent(self.limit)),
        };
        let _ = write!(text, ": {:.4} -> {:.4}", self.baseline, self.candidate);
        if let Some(difference) = self.difference {
            let _ = write!(text, ", {:+.2} %", difference * 100.0);
        }
        if let Some((low, high)) = self.interval {
            let _ = write!(text, " [{:+.2}, {:+.2}]", low * 100.0, high * 100.0);
        }
        if let Some(p) = self.p_lower.zip(self.p_upper).map(|(lower, upper)| lower.max(upper)) {
            let _ = write!(text, ", {}", p_value(p));
        }
        let _ = write!(text, " ({}, n = {})", self.method, self.n);
        text
    }
}

impl Claim {
    /// In one line, without its end.
    pub fn words(&self) -> String {
        let of = match self.metrics.as_slice() {
            [] => "at least one metric is better".to_owned(),
            metrics => format!("better: {}", metrics.join(", ")),
        };
        let evidence =
            self.log_e.map_or_else(String::new, |log| format!("evidence {} of ", three_digits(log.exp())));
        format!(
            "claim: {of} ({evidence}{} needed, level {})",
            three_digits(1.0 / self.level),
            three_digits(self.level)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_other_versions_are_passed_over_or_missed() {
        let json = serde_json::json!({ "verdict": "improved", "records": [1, 2], "colour": "blue" });
        let judgement = Judgement::read(&json).unwrap();
        assert_eq!(
            (judgement.verdict, judgement.effects.len(), judgement.loss),
            (Verdict::Improved, 0, None)
        );
        assert_eq!(Judgement::read(&serde_json::json!({ "verdict": "odd" })), None);
    }
}
