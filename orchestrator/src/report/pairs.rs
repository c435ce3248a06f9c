//! Pairs of trials that shared a seed, and their differences.

use std::fmt::Write as _;

use program_db::Trial;
use serde::Serialize;

use super::numbers::{bytes, signed};

/// Both trials of one seed, as far as they ran.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// Which, from 0. A pair that was run again has its number twice.
    pub pair: u32,
    /// What both shared.
    pub seed: u64,
    /// Whether the reference ran first.
    pub reference_first: Option<bool>,
    /// The trial compared with.
    pub reference: Option<Trial>,
    /// The candidate's trial.
    pub candidate: Option<Trial>,
}

impl Pair {
    /// The candidate's relative change of a metric, positive is better; none if a trial is missing or failed.
    pub fn change(&self, metric: &str) -> Option<f64> {
        let value = |trial: &Option<Trial>| {
            let trial = trial.as_ref().filter(|trial| trial.exit == "ok")?;
            match metric {
                "tokens_per_second" => trial.tokens_per_second,
                "peak_memory_bytes" => trial.peak_memory_bytes.map(|bytes| bytes as f64),
                other => trial.metrics.get(other).copied(),
            }
        };
        let ratio = value(&self.candidate)? / value(&self.reference)?;
        let change = if metric == "peak_memory_bytes" { 1.0 - ratio } else { ratio - 1.0 };
        change.is_finite().then_some(change)
    }
}

/// The pairs among the trials, in the order they ran. Trials that belong to none are left out.
pub fn pairs(trials: &[Trial]) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for trial in trials {
        let Some(number) = trial.pair else { continue };
        let is_this = |pair: &&mut Pair| pair.pair == number && pair.seed == trial.seed;
        let pair = match pairs.iter_mut().rev().find(is_this) {
            Some(pair) => pair,
            None => {
                pairs.push(Pair {
                    pair: number,
                    seed: trial.seed,
                    reference_first: trial.reference_first,
                    reference: None,
                    candidate: None,
                });
                let last = pairs.len() - 1;
                &mut pairs[last]
            }
        };
        let side = if trial.arm == "candidate" { &mut pair.candidate } else { &mut pair.reference };
        *side = Some(trial.clone());
    }
    pairs
}

/// A line for each; empty text without any.
pub fn table(pairs: &[Pair]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let against =
        pairs.iter().find_map(|pair| pair.reference.as_ref()).map_or("reference", |trial| &trial.arm);
    let seeds = pairs.iter().map(|pair| pair.seed.to_string().len()).max().unwrap_or_default().max(4);
    let mut text = format!(
        "pairs (candidate against {against}, same seed, the order decided by a coin; positive is better):\n  \
         {:>4}  {:>seeds$}  {:<15}  {:>10}  {:>10}  {:>9}  {:>10}  {:>10}  {:>9}\n",
        "pair", "seed", "first", "tokens/s", "candidate", "change", "memory", "candidate", "change"
    );
    for pair in pairs {
        let first = match pair.reference_first {
            Some(true) => against,
            Some(false) => "candidate",
            None => "-",
        };
        let speed = |trial: &Option<Trial>| {
            trial.as_ref().map_or("-".to_owned(), |trial| match trial.tokens_per_second {
                Some(speed) if trial.exit == "ok" => format!("{speed:.0}"),
                _ => trial.exit.clone(),
            })
        };
        let memory = |trial: &Option<Trial>| {
            let peak = trial.as_ref().and_then(|trial| trial.peak_memory_bytes);
            peak.map_or("-".to_owned(), |peak| bytes(peak as f64))
        };
        let change = |metric| pair.change(metric).map_or("-".to_owned(), signed);
        let _ = writeln!(
            text,
            "  {:>4}  {:>seeds$}  {first:<15}  {:>10}  {:>10}  {:>9}  {:>10}  {:>10}  {:>9}",
            pair.pair,
            pair.seed,
            speed(&pair.reference),
            speed(&pair.candidate),
            change("tokens_per_second"),
            memory(&pair.reference),
            memory(&pair.candidate),
            change("peak_memory_bytes"),
        );
    }
    text
}
