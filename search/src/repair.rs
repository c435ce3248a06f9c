//! Repairs: proposals that mend what nearly worked, one for each failure at most.
//!
//! A failure is repaired right after it is told, or never: the run loop makes exactly one ask between two tellings, so no failure
//! is repaired twice, and who repairs what follows from what was told.

use rand::{Rng, RngExt};
use serde::Deserialize;

use crate::outcome::{Outcome, Stage};
use crate::program::ProgramId;
use crate::proposal::Proposal;

/// The operator of a proposal that mends a failed one.
pub const REPAIR: &str = "repair";

/// The `repair` section.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Repair {
    /// Share of a model's repairable failures that get a repair proposal, one each. 0: none.
    pub share: f64,
    /// Most repairs, as a share of what was told.
    pub limit: f64,
}

impl Default for Repair {
    fn default() -> Self {
        Self { share: 0.5, limit: 0.25 }
    }
}

/// A failure that may be repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repairable {
    pub(crate) id: ProgramId,
    pub(crate) parent: ProgramId,
    pub(crate) island: usize,
    pub(crate) proposer: String,
}

/// What was told, as far as repairs go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Repairs {
    /// What was told last, if it may be repaired.
    last: Option<Repairable>,
    /// Repairs told.
    count: usize,
}

impl Repairs {
    /// Takes in what was told. Rules can't read what a compiler says, and a failed repair isn't repaired again.
    pub(crate) fn note(&mut self, proposal: &Proposal, outcome: &Outcome) {
        self.count += usize::from(proposal.repairs.is_some());
        let may_be = proposal.model.is_some() && proposal.repairs.is_none() && is_repairable(outcome);
        self.last = proposal.parent.filter(|_| may_be).map(|parent| Repairable {
            id: proposal.id,
            parent,
            island: proposal.island,
            proposer: proposal.proposer.clone(),
        });
    }

    /// The failure that the next proposal repairs, if it does.
    pub(crate) fn next(&self, repair: &Repair, told: usize, rng: &mut impl Rng) -> Option<&Repairable> {
        let last = self.last.as_ref().filter(|_| repair.share > 0.0)?;
        let has_room = (self.count as f64) < repair.limit * told as f64;
        // Drawn where there is no room too: a limit changes nothing else.
        (rng.random::<f64>() < repair.share && has_room).then_some(last)
    }
}

/// Whether somebody who reads why it failed could mend it: it was refused, or broke, with words.
pub fn is_repairable(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Patch { .. }
        | Outcome::Gate { .. }
        | Outcome::Compile { .. }
        | Outcome::WrongResult { .. }
        | Outcome::Crash { stage: Stage::Check | Stage::Trial, .. } => true,
        Outcome::NoProposal { .. }
        | Outcome::NoChange
        | Outcome::Duplicate { .. }
        | Outcome::NearDuplicate { .. }
        | Outcome::Crash { stage: Stage::Compile, .. }
        | Outcome::Timeout { .. }
        | Outcome::OutOfMemory { .. }
        | Outcome::LossDrift { .. }
        | Outcome::Rejected { .. }
        | Outcome::Measured(_) => false,
    }
}
