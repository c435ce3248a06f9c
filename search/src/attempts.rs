//! What came to nothing, counted, and remembered with the program it started from.

use std::collections::{BTreeMap, VecDeque};

use crate::outcome::Outcome;
use crate::program::ProgramId;

/// Failures remembered for each parent: the latest ones. More than a prompt would ever show.
const REMEMBERED: usize = 32;

/// Counts of outcomes, and failures by parent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempts {
    by_kind: BTreeMap<&'static str, u64>,
    by_parent: BTreeMap<ProgramId, Failures>,
}

#[derive(Debug, Clone, Default)]
struct Failures {
    count: u64,
    latest: VecDeque<ProgramId>,
}

impl Attempts {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        *self.by_kind.entry(outcome.kind()).or_default() += 1;
    }

    pub(crate) fn failed(&mut self, id: ProgramId, parent: ProgramId) {
        let failures = self.by_parent.entry(parent).or_default();
        failures.count += 1;
        if failures.latest.len() == REMEMBERED {
            failures.latest.pop_front();
        }
        failures.latest.push_back(id);
    }

    pub(crate) fn by_kind(&self) -> &BTreeMap<&'static str, u64> {
        &self.by_kind
    }

    pub(crate) fn latest(&self, parent: ProgramId) -> impl DoubleEndedIterator<Item = ProgramId> {
        self.by_parent.get(&parent).into_iter().flat_map(|failures| failures.latest.iter().copied())
    }

    pub(crate) fn failures(&self, parent: ProgramId) -> u64 {
        self.by_parent.get(&parent).map_or(0, |failures| failures.count)
    }
}
