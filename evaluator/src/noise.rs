//! Scores that vary from one evaluation to the next, and what a program has to show before it counts as the best.
//!
//! Whoever is best of many noisy scores was lucky too. So a program whose first score is above the best one's by more than a
//! standard error is evaluated afresh,
//! and only what those further evaluations say counts: its score is their mean, and it is claimed to be better only if Welch's t-test
//! of them against the best program's own says so at the level that [`e_lond_level`] gives to this test. The levels of a whole
//! search sum to α, so that the probability of any false claim is at most α as far as the t-test holds. A program that can't be told
//! apart from the best one counts as no better than it.
//!
//! Pure: no clock and no randomness. What is known follows from the [`Record`]s, which are stored.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::statistics::{Comparison, TTest, compare, e_lond_level, mean, standard_deviation};

/// The keys below `noise:` in `problem.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseSettings {
    /// How often each program is evaluated; its score is the mean.
    pub evaluations_per_program: u32,
    /// How often a program that would be the best is evaluated again, and the first one too. 0: the first score counts as it is.
    /// An evaluator that gives the same score twice isn't asked again.
    pub confirmations: u32,
    /// Largest probability that a search claims any program to be better that isn't.
    pub alpha: f64,
    /// So many confirmations have half of `alpha` among them; the rest is for those that follow.
    pub patience: u32,
}

impl Default for NoiseSettings {
    fn default() -> Self {
        Self { evaluations_per_program: 1, confirmations: 6, alpha: 0.05, patience: 20 }
    }
}

impl NoiseSettings {
    /// What is wrong with the values, if anything.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if !(1..=1000).contains(&self.evaluations_per_program) {
            return Err("`noise: evaluations_per_program` must be from 1 to 1000".to_owned());
        }
        if self.confirmations == 1 || self.confirmations > 1000 {
            return Err(
                "`noise: confirmations` must be 0 (none) or from 2 to 1000: one more score has no spread"
                    .to_owned(),
            );
        }
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return Err("`noise: alpha` must be above 0 and below 1".to_owned());
        }
        if !(1..=10_000).contains(&self.patience) {
            return Err("`noise: patience` must be from 1 to 10000".to_owned());
        }
        Ok(())
    }
}

/// The scores of one program so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Draws {
    /// Those that every program has.
    pub first: Vec<f64>,
    /// Those of a program that would be the best: drawn after that was known, so that no luck has chosen them.
    pub fresh: Vec<f64>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Evaluate it once more, for [`Draws::first`].
    First,
    /// Evaluate it once more, for [`Draws::fresh`].
    Fresh,
    /// It is done.
    Done(Conclusion),
}

/// What the scores of one program come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Conclusion {
    /// Its score.
    pub score: f64,
    /// The score's standard error, as far as it is known.
    pub error: Option<f64>,
    /// How it stands to the best one so far.
    pub rank: Rank,
    /// The grounds in one plain sentence; empty if there is nothing to say.
    pub reason: String,
    /// Whether the fresh scores are those that count.
    pub fresh_count: bool,
    /// What has to be remembered of it.
    pub record: Option<Record>,
}

/// How a program stands to the best one so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// It is the first one.
    First,
    /// It is better, beyond chance.
    Better,
    /// It isn't better, or can't be told apart.
    Other,
}

/// What a search remembers of a program that was or would have been the best.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// How it came out.
    pub rank: Rank,
    /// Its scores.
    pub draws: Draws,
    /// The test's level, if there was a test.
    pub level: Option<f64>,
    /// The one-sided p-value, if there was a test.
    pub p_value: Option<f64>,
}

/// What a search knows of its noise, and its best program's scores.
#[derive(Debug, Clone)]
pub struct Standing {
    settings: NoiseSettings,
    best: Option<Vec<f64>>,
    /// Whether any program has had two different scores.
    is_noisy: bool,
    challenges: u32,
    tests: u32,
    claims: u32,
}

impl Standing {
    /// As a run's records have left it.
    pub fn new<'a>(settings: NoiseSettings, past: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut standing = Self { settings, best: None, is_noisy: false, challenges: 0, tests: 0, claims: 0 };
        past.into_iter().for_each(|record| standing.add(record));
        standing
    }

    /// Takes in how a program came out.
    pub fn add(&mut self, record: &Record) {
        let Record { rank, draws, p_value, .. } = record;
        self.is_noisy |= varies(draws.first.iter().chain(&draws.fresh));
        self.challenges += u32::from(*rank != Rank::First);
        self.tests += u32::from(p_value.is_some());
        self.claims += u32::from(*rank == Rank::Better);
        if *rank != Rank::Other {
            let counting = if draws.fresh.is_empty() { &draws.first } else { &draws.fresh };
            self.best = Some(counting.clone());
        }
    }

    /// What to do with a program that has these scores. Whoever gets [`Step::Done`] adds its record.
    pub fn step(&self, draws: &Draws) -> Step {
        if draws.first.len() < self.settings.evaluations_per_program as usize {
            return Step::First;
        }
        if self.settings.confirmations == 0 {
            return Step::Done(self.plain(draws, None));
        }
        match &self.best {
            None => self.step_of_the_first(draws),
            Some(best) => self.step_of_another(best, draws),
        }
    }

    /// A program outside of any search: its mean, and no claim.
    pub fn step_alone(&self, draws: &Draws) -> Step {
        if draws.first.len() < self.settings.evaluations_per_program as usize {
            return Step::First;
        }
        Step::Done(self.plain(draws, None))
    }

    /// Nothing has chosen it, so all its scores count.
    fn step_of_the_first(&self, draws: &Draws) -> Step {
        let wanted = self.settings.confirmations.max(self.settings.evaluations_per_program) as usize;
        let count = draws.first.len();
        if count < 2 || (count < wanted && varies(&draws.first)) {
            return Step::First;
        }
        let record = Record { rank: Rank::First, draws: draws.clone(), level: None, p_value: None };
        Step::Done(self.plain(draws, Some(record)))
    }

    fn step_of_another(&self, best: &[f64], draws: &Draws) -> Step {
        let best_score = mean(best).unwrap_or_default();
        if draws.fresh.is_empty() {
            let score = mean(&draws.first).unwrap_or_default();
            // Identical programs are above it every other time: too often to ask again.
            let margin = self.error_of_one(best) / (draws.first.len() as f64).sqrt();
            if score <= best_score + margin {
                let plain = self.plain(draws, None);
                let reason = if score > best_score {
                    format!(
                        "{score:.4}, less than a standard error above the best one's {best_score:.4}, counts as no better"
                    )
                } else {
                    plain.reason
                };
                return Step::Done(Conclusion { score: score.min(best_score), reason, ..plain });
            }
            // Whether it has noise is looked at the 1st, 2nd, 4th, 8th ... time, as long as there was none.
            let is_looked_at = self.is_noisy || (self.challenges + 1).is_power_of_two();
            return if is_looked_at { Step::Fresh } else { Step::Done(self.certain(draws, best_score)) };
        }
        if !self.is_noisy && !varies(draws.first.iter().chain(&draws.fresh)) {
            return Step::Done(self.certain(draws, best_score));
        }
        let fresh_score = mean(&draws.fresh).unwrap_or_default();
        let count = draws.fresh.len();
        if count >= 2 && fresh_score <= best_score {
            let why = format!(
                "its first score of {:.4} was luck: evaluated {count} more times it has {fresh_score:.4}, not above the best \
                 one's {best_score:.4}",
                mean(&draws.first).unwrap_or_default()
            );
            return Step::Done(self.confirmed(draws, fresh_score, Rank::Other, why, None));
        }
        if count < self.settings.confirmations as usize {
            return Step::Fresh;
        }
        self.test(best, best_score, draws, fresh_score)
    }

    fn test(&self, best: &[f64], best_score: f64, draws: &Draws, fresh_score: f64) -> Step {
        let level =
            e_lond_level(self.settings.alpha, self.settings.patience, self.tests + 1, self.claims).min(1.0);
        let p_value = match compare(best, &draws.fresh, 0.95) {
            Some(Comparison::Tested(TTest { p_greater, .. })) => p_greater,
            // Neither varies, although some other program did.
            Some(Comparison::Certain { difference }) if difference > 0.0 => 0.0,
            _ => 1.0,
        };
        let count = draws.fresh.len();
        let numbers = format!("p = {p_value:.2e}, level {level:.2e}");
        let (rank, score, why) = if p_value <= level {
            let why = format!(
                "better than the best one's {best_score:.4} beyond chance: {fresh_score:.4} in {count} further evaluations ({numbers})"
            );
            (Rank::Better, fresh_score, why)
        } else {
            let why = format!(
                "{fresh_score:.4} in {count} further evaluations can't be told apart from the best one's {best_score:.4} ({numbers}), \
                 so it counts as no better"
            );
            (Rank::Other, fresh_score.min(best_score), why)
        };
        Step::Done(self.confirmed(draws, score, rank, why, Some((level, p_value))))
    }

    /// Its first scores count.
    fn plain(&self, draws: &Draws, record: Option<Record>) -> Conclusion {
        let count = draws.first.len();
        let score = mean(&draws.first).unwrap_or_default();
        let error = self.error(&draws.first);
        let reason = match (count, error) {
            (2.., Some(error)) if error > 0.0 => {
                format!("mean of {count} evaluations, standard error {error:.2e}")
            }
            _ => String::new(),
        };
        let rank = record.as_ref().map_or(Rank::Other, |record| record.rank);
        Conclusion { score, error, rank, reason, fresh_count: false, record }
    }

    /// Without noise, being above is being better.
    fn certain(&self, draws: &Draws, best_score: f64) -> Conclusion {
        let record = Record { rank: Rank::Better, draws: draws.clone(), level: None, p_value: None };
        let score = mean(&draws.first).unwrap_or_default();
        let times = if draws.fresh.is_empty() {
            "this evaluator's scores have been the same each time"
        } else {
            "the same score again"
        };
        let reason = format!("above the best one's {best_score:.4}; {times}");
        Conclusion { reason, rank: Rank::Better, score, ..self.plain(draws, Some(record)) }
    }

    /// Its fresh scores count.
    fn confirmed(
        &self,
        draws: &Draws,
        score: f64,
        rank: Rank,
        reason: String,
        test: Option<(f64, f64)>,
    ) -> Conclusion {
        let (level, p_value) = test.unzip();
        let record = Record { rank, draws: draws.clone(), level, p_value };
        let error = self.error(&draws.fresh);
        Conclusion { score, error, rank, reason, fresh_count: true, record: Some(record) }
    }

    /// Standard error of a mean; for a single score from the best program's spread.
    fn error(&self, sample: &[f64]) -> Option<f64> {
        let deviation = standard_deviation(sample).or_else(|| {
            let best = self.best.as_deref().filter(|_| self.is_noisy)?;
            standard_deviation(best)
        })?;
        Some(deviation / (sample.len() as f64).sqrt())
    }

    /// Standard error of a single score, as far as the best program tells.
    fn error_of_one(&self, best: &[f64]) -> f64 {
        standard_deviation(best).filter(|_| self.is_noisy).unwrap_or(0.0)
    }
}

fn varies<'a>(scores: impl IntoIterator<Item = &'a f64>) -> bool {
    let mut scores = scores.into_iter();
    let first = scores.next();
    scores.any(|score| Some(score.to_bits()) != first.map(|first| first.to_bits()))
}
