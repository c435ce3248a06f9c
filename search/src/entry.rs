//! What search keeps of a measured program. The source stays in the database.

use crate::code_hash::CodeHash;
use crate::feature::Cell;
use crate::outcome::Score;
use crate::program::ProgramId;
use crate::sketch::Sketch;
use crate::tune::Tunable;

/// A measured program.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Number within the run.
    pub id: ProgramId,
    /// The program it was made from; none for the initial program.
    pub parent: Option<ProgramId>,
    /// The island it was made on. Exchanges may have brought it to others as well.
    pub island: usize,
    /// Lineage depth.
    pub generation: u32,
    /// What search maximises: the estimate from all its measurements.
    pub score: Score,
    /// Standard error of the logarithm of the score, if the evaluator says.
    pub error: Option<f64>,
    /// What programs are compared by: the score, lowered by its uncertainty.
    pub merit: Score,
    /// How often it was measured.
    pub measurements: u32,
    /// Outcomes told of proposals made from it.
    pub children: u32,
    /// The name of its code.
    pub hash: CodeHash,
    /// One value for each of `feature_dimensions`; none where the evaluator didn't return the metric.
    pub features: Box<[Option<f64>]>,
    /// Length in tokens.
    pub tokens: u32,
    pub(crate) cell: Cell,
    pub(crate) sketch: Sketch,
    /// To be maximised; empty unless there are several.
    pub(crate) objectives: Box<[f64]>,
    pub(crate) tunable: Option<Box<Tunable>>,
}

impl Entry {
    /// What a score is worth with so much uncertainty: the lower end of an interval of `caution` standard errors. The
    /// error is that of the logarithm, so scores that have none stay as they are.
    pub(crate) fn merit(score: Score, error: Option<f64>, caution: f64) -> Score {
        match error {
            Some(error) if error > 0.0 && score.get() > 0.0 => {
                Score::new(score.get() * (-caution * error).exp()).unwrap_or(score)
            }
            _ => score,
        }
    }

    /// Takes another measurement in. Two scores with known errors are averaged by their precision, in logarithms; others
    /// count alike.
    pub(crate) fn measured_again(&mut self, score: Score, error: Option<f64>, caution: f64) {
        let (old, new) = (self.score.get(), score.get());
        let known = |error: Option<f64>| error.filter(|error| *error > 0.0 && error.is_finite());
        let (mean, error) = match (known(self.error), known(error)) {
            (Some(one), Some(two)) if old > 0.0 && new > 0.0 => {
                let (weight, other) = (one.powi(-2), two.powi(-2));
                let sum = weight + other;
                (((old.ln() * weight + new.ln() * other) / sum).exp(), Some(sum.sqrt().recip()))
            }
            (one, two) => {
                let count = f64::from(self.measurements);
                let share = 1.0 / (count + 1.0);
                (old * (1.0 - share) + new * share, one.or(two))
            }
        };
        self.measurements += 1;
        self.score = Score::new(mean).unwrap_or(self.score);
        self.error = error;
        self.merit = Self::merit(self.score, self.error, caution);
    }
}

/// An entry's place in the list of all.
pub(crate) type Slot = u32;

/// All measured programs, in the order in which they were told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entries(Vec<Entry>);

impl Entries {
    pub(crate) fn push(&mut self, entry: Entry) -> Slot {
        self.0.push(entry);
        (self.0.len() - 1) as Slot
    }

    pub(crate) fn get(&self, slot: Slot) -> &Entry {
        &self.0[slot as usize]
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.0[slot as usize]
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.0.iter_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Best first; of equal merit the earlier program.
    pub(crate) fn rank(&self, one: Slot, two: Slot) -> std::cmp::Ordering {
        let (one, two) = (self.get(one), self.get(two));
        two.merit.cmp(&one.merit).then(one.id.cmp(&two.id))
    }

    /// Whether `one` ranks before `two`.
    pub(crate) fn is_better(&self, one: Slot, two: Slot) -> bool {
        self.rank(one, two).is_lt()
    }
}
