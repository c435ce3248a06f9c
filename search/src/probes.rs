//! Probes: proposals that change one number without a mark and mark it, to find out whether it matters.

use std::collections::BTreeMap;

use crate::entry::{Entry, Slot};
use crate::outcome::{Measured, Outcome};
use crate::program::ProgramId;

/// Most probes of one program.
const MOST: u32 = 8;

/// Standard errors that two scores must lie apart to count as different, where errors are known.
const APART: f64 = 2.0;

/// What was told of probes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probes {
    told: BTreeMap<ProgramId, u32>,
    found: BTreeMap<Slot, Vec<Slot>>,
}

impl Probes {
    /// Whether a program may be probed once more.
    pub(crate) fn has_room(&self, id: ProgramId) -> bool {
        self.told.get(&id).is_none_or(|told| *told < MOST)
    }

    /// Counts a probe of a program.
    pub(crate) fn count(&mut self, parent: ProgramId, outcome: &Outcome) {
        let told = self.told.entry(parent).or_default();
        // There was no number left to change.
        *told = if matches!(outcome, Outcome::NoChange) { MOST } else { *told + 1 };
    }

    /// A probe that showed that its number matters: it has the mark, which the probed program lacks.
    pub(crate) fn found(&mut self, probed: Slot, probe: Slot) {
        self.found.entry(probed).or_default().push(probe);
    }

    /// The probes of a program that found something, the earliest first.
    pub(crate) fn of(&self, probed: Slot) -> impl Iterator<Item = Slot> + '_ {
        self.found.get(&probed).into_iter().flatten().copied()
    }
}

/// Whether a probe's score is another than that of the program it was made from.
pub(crate) fn differs(probed: &Entry, probe: &Measured) -> bool {
    let (one, other) = (probed.score.get(), probe.score.get());
    let error = probed.error.unwrap_or(0.0).hypot(probe.score_error.unwrap_or(0.0));
    if error > 0.0 && one > 0.0 && other > 0.0 {
        (one.ln() - other.ln()).abs() > APART * error
    } else {
        probed.score != probe.score
    }
}
