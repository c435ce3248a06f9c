//! When a search that finds nothing better should end.

use serde::Deserialize;

use crate::outcome::Score;

/// The `early_stopping` section: the run ends when `patience` outcomes in a row brought no improvement.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Outcomes told, failures too, since the best score last improved.
    pub patience: u64,
    /// What counts as an improvement: the score must rise by more than this over the last one that counted.
    #[serde(default)]
    pub min_improvement: f64,
}

/// Since when nothing has improved.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Drought {
    reference: Option<Score>,
    outcomes: u64,
}

impl Drought {
    /// Counts an outcome, with the best score after it.
    pub(crate) fn count(&mut self, best: Option<Score>, min_improvement: f64) {
        let improved = match (best, self.reference) {
            (Some(best), Some(reference)) => best.get() - reference.get() > min_improvement,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if improved {
            *self = Self { reference: best, outcomes: 0 };
        } else {
            self.outcomes += 1;
        }
    }

    /// Outcomes since the last improvement.
    pub(crate) fn outcomes(self) -> u64 {
        self.outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_steps_add_up_to_an_improvement() {
        let mut drought = Drought::default();
        let mut after = |score: f64| {
            drought.count(Score::new(score).ok(), 0.1);
            drought.outcomes()
        };
        assert_eq!([1.0, 1.0, 1.06, 1.12, 1.2].map(&mut after), [0, 1, 2, 0, 1]);
    }
}
