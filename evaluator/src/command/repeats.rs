//! Several evaluations of one program, and what they come to.

use std::collections::BTreeMap;

use search::{Measured, Outcome, Score, Verdict};

use crate::noise::{Conclusion, Draws, Rank};
use crate::stop::Stop;

/// The evaluations of one program so far, all of which gave a score.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    pub(super) draws: Draws,
    first: Vec<Measured>,
    fresh: Vec<Measured>,
}

impl Repeats {
    pub(super) fn count(&self) -> usize {
        self.first.len() + self.fresh.len()
    }

    pub(super) fn add(&mut self, is_fresh: bool, measured: Measured) {
        let score = measured.score.get();
        if is_fresh {
            self.draws.fresh.push(score);
            self.fresh.push(measured);
        } else {
            self.draws.first.push(score);
            self.first.push(measured);
        }
    }

    /// A program that fails sometimes has failed.
    pub(super) fn failed(&self, failure: Outcome) -> Outcome {
        let count = self.count();
        if count == 0 {
            return failure;
        }
        let note = format!("(it passed {count} times before that, and failed in the next evaluation)");
        match failure {
            Outcome::Crash { stage, message } => {
                Outcome::Crash { stage, message: format!("{message}\n{note}") }
            }
            Outcome::Rejected { reason } => Outcome::Rejected { reason: format!("{reason} {note}") },
            other => other,
        }
    }

    /// The outcome of a program that passed each time.
    pub(super) fn measured(mut self, conclusion: Conclusion) -> Result<Outcome, Stop> {
        let Conclusion { score, error, rank, reason, fresh_count, .. } = conclusion;
        let score = Score::new(score).map_err(|error| Stop::Broken(error.to_string()))?;
        let counting = if fresh_count { &self.fresh } else { &self.first };
        let metrics = means(counting);
        let first = self.first.swap_remove(0);
        Ok(Outcome::Measured(Measured {
            score,
            verdict: if rank == Rank::Better { Verdict::Improved } else { Verdict::Inconclusive },
            metrics,
            effects: Vec::new(),
            reason: if reason.is_empty() { first.reason } else { reason },
            // Of its logarithm, where it has one.
            score_error: error
                .map(|error| error / score.get())
                .filter(|error| error.is_finite() && *error > 0.0),
        }))
    }
}

/// The mean of each metric, over those evaluations that have it.
fn means(evaluations: &[Measured]) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<&str, (f64, u32)> = BTreeMap::new();
    for (name, value) in evaluations.iter().flat_map(|measured| &measured.metrics) {
        let (sum, count) = sums.entry(name).or_default();
        *sum += value;
        *count += 1;
    }
    let mean = |(name, (sum, count)): (&str, (f64, u32))| (name.to_owned(), sum / f64::from(count));
    // A sum of large numbers may be too large.
    sums.into_iter().map(mean).filter(|(_, mean)| mean.is_finite()).collect()
}
