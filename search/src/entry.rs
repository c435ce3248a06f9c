//! What search keeps of a measured program. The source stays in the database.

use crate::code_hash::CodeHash;
use crate::feature::Cell;
use crate::outcome::Score;
use crate::program::ProgramId;
use crate::sketch::Sketch;

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
    /// What search maximises.
    pub score: Score,
    /// The name of its code.
    pub hash: CodeHash,
    /// One value for each of `feature_dimensions`; none where the evaluator didn't return the metric.
    pub features: Box<[Option<f64>]>,
    /// Length in tokens.
    pub tokens: usize,
    pub(crate) cell: Cell,
    pub(crate) sketch: Sketch,
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.0.iter_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Best first; of equal scores the earlier program.
    pub(crate) fn rank(&self, one: Slot, two: Slot) -> std::cmp::Ordering {
        let (one, two) = (self.get(one), self.get(two));
        two.score.cmp(&one.score).then(one.id.cmp(&two.id))
    }

    /// Whether `one` ranks before `two`.
    pub(crate) fn is_better(&self, one: Slot, two: Slot) -> bool {
        self.rank(one, two).is_lt()
    }
}
