//! What is known of the reference: its latest trials and its noise.

use super::Rules;
use crate::problem::Metric;
use crate::protocol::Sample;
use crate::statistics::{mean, median, robust_deviation};

/// Successive differences that the noise is taken from.
const REMEMBERED: usize = 60;

/// One successful trial.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reference {
    pub(super) trial: u64,
    pub(super) seed: u64,
    /// Goodness of each metric.
    pub(super) logs: Vec<f64>,
    pub(super) sample: Sample,
}

impl Reference {
    pub(super) fn new(rules: &Rules, trial: u64, seed: u64, sample: Sample) -> Self {
        Self { trial, seed, logs: rules.logs(&sample), sample }
    }
}

/// The reference's trials in the order of running.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct References {
    /// The latest ones, to compare with.
    pool: Vec<Reference>,
    /// For each metric the sizes of the latest differences between successive trials.
    differences: Vec<Vec<f64>>,
    last: Option<Vec<f64>>,
    /// Trials told in the run when the latest one was.
    last_at: u64,
}

impl References {
    pub(super) fn new(metrics: usize) -> Self {
        Self { pool: Vec::new(), differences: vec![Vec::new(); metrics], last: None, last_at: 0 }
    }

    pub(super) fn add(&mut self, reference: Reference, pool: usize, now: u64) {
        if let Some(last) = &self.last {
            for (index, sizes) in self.differences.iter_mut().enumerate() {
                sizes.push((reference.logs[index] - last[index]).abs());
                let excess = sizes.len().saturating_sub(REMEMBERED);
                sizes.drain(..excess);
            }
        }
        self.last = Some(reference.logs.clone());
        self.last_at = now;
        self.pool.push(reference);
        self.keep(pool);
    }

    /// A promoted candidate's own latest trials take the place of the old reference's. Its noise is taken to be the same.
    pub(super) fn replace(&mut self, trials: Vec<Reference>, pool: usize, now: u64) {
        self.last = trials.last().map(|reference| reference.logs.clone());
        self.last_at = now;
        self.pool = trials;
        self.keep(pool);
    }

    fn keep(&mut self, pool: usize) {
        let excess = self.pool.len().saturating_sub(pool);
        self.pool.drain(..excess);
    }

    /// Trials told since the latest reference trial.
    pub(super) fn age(&self, now: u64) -> u64 {
        now - self.last_at
    }

    pub(super) fn trials(&self) -> Vec<u64> {
        self.pool.iter().map(|reference| reference.trial).collect()
    }

    /// From the latest to the oldest.
    pub(super) fn latest_first(&self) -> impl Iterator<Item = &Reference> {
        self.pool.iter().rev()
    }

    /// Median goodness of the latest trials.
    pub(super) fn center(&self, metric: usize) -> f64 {
        let logs: Vec<f64> = self.pool.iter().map(|reference| reference.logs[metric]).collect();
        median(&logs).unwrap_or_default()
    }

    /// Standard deviation of one trial, robust against drift and outliers.
    pub(super) fn sigma(&self, metric: usize, floor: f64) -> f64 {
        robust_deviation(&self.differences[metric]).unwrap_or_default().max(floor)
    }

    /// Geometric mean of the latest trials, in the metric's unit.
    pub(super) fn typical(&self, metric: Metric) -> f64 {
        let logs: Vec<f64> = self.pool.iter().map(|reference| reference.sample.value(metric).ln()).collect();
        mean(&logs).unwrap_or_default().exp()
    }

    /// Whether a trial took more than a multiple of the reference's median time.
    pub(super) fn is_slow(&self, sample: &Sample, rules: &Rules) -> bool {
        let speeds: Vec<f64> = self.pool.iter().map(|reference| reference.sample.tokens_per_second).collect();
        median(&speeds).is_some_and(|median| sample.tokens_per_second * rules.settings.slow < median)
    }
}
