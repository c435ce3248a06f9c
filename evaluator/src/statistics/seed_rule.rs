//! What the seed document's own code decides by: |t| > 1.6.
//!
//! It differs from the document's text (p < 0.05): with seven trials an arm 1.6 is p = 0.136.

use super::{mean, variance};

/// What it finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeedRule {
    /// |t|; `None` if neither sample varies.
    pub t: Option<f64>,
    /// The word for it.
    pub verdict: SeedVerdict,
    /// Mean of the candidate over that of the baseline.
    pub ratio_of_means: f64,
}

/// Its three words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedVerdict {
    /// |t| is above the threshold.
    Significant,
    /// It isn't.
    NotSignificant,
    /// Neither sample varies: "identical", even if the means differ.
    Identical,
}

/// `None` if a sample has fewer than two values.
pub fn seed_rule(baseline: &[f64], candidate: &[f64], threshold: f64) -> Option<SeedRule> {
    let (mean_baseline, mean_candidate) = (mean(baseline)?, mean(candidate)?);
    let error = variance(baseline)? / baseline.len() as f64 + variance(candidate)? / candidate.len() as f64;
    let t = (error > 0.0).then(|| (mean_candidate - mean_baseline).abs() / error.sqrt());
    let verdict = match t {
        None => SeedVerdict::Identical,
        Some(t) if t > threshold => SeedVerdict::Significant,
        Some(_) => SeedVerdict::NotSignificant,
    };
    Some(SeedRule { t, verdict, ratio_of_means: mean_candidate / mean_baseline })
}
