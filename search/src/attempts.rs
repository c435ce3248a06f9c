//! What became of proposals, counted, and remembered with the program they started from.

use std::collections::{BTreeMap, VecDeque};

use crate::outcome::Outcome;
use crate::program::ProgramId;

/// Failures, and successes, remembered for each parent: the latest ones. More than a prompt would ever show.
const REMEMBERED: usize = 32;

/// Counts of outcomes, and what was made from each program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempts {
    by_kind: BTreeMap<&'static str, u64>,
    by_parent: BTreeMap<ProgramId, Children>,
}

#[derive(Debug, Clone, Default)]
struct Children {
    failures: u64,
    failed: VecDeque<ProgramId>,
    measured: VecDeque<ProgramId>,
}

impl Attempts {
    /// Counts an outcome.
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        *self.by_kind.entry(outcome.kind()).or_default() += 1;
    }

    /// Remembers what came of a proposal from this parent.
    pub(crate) fn remember(&mut self, id: ProgramId, parent: ProgramId, was_measured: bool) {
        let children = self.by_parent.entry(parent).or_default();
        let latest = if was_measured {
            &mut children.measured
        } else {
            children.failures += 1;
            &mut children.failed
        };
        if latest.len() == REMEMBERED {
            latest.pop_front();
        }
        latest.push_back(id);
    }

    pub(crate) fn by_kind(&self) -> &BTreeMap<&'static str, u64> {
        &self.by_kind
    }

    pub(crate) fn failed(&self, parent: ProgramId) -> impl DoubleEndedIterator<Item = ProgramId> {
        self.by_parent.get(&parent).into_iter().flat_map(|children| children.failed.iter().copied())
    }

    pub(crate) fn measured(&self, parent: ProgramId) -> impl DoubleEndedIterator<Item = ProgramId> {
        self.by_parent.get(&parent).into_iter().flat_map(|children| children.measured.iter().copied())
    }

    pub(crate) fn failures(&self, parent: ProgramId) -> u64 {
        self.by_parent.get(&parent).map_or(0, |children| children.failures)
    }
}
