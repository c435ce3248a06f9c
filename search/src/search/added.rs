//! What telling an outcome changes.

use super::Search;
use crate::entry::{Entry, Slot};
use crate::feature::{Cell, diversity};
use crate::fingerprint::Fingerprint;
use crate::island::Place;
use crate::outcome::{Measured, Outcome, Score};
use crate::probes;
use crate::program::{Program, ProgramId};
use crate::proposal::Proposal;
use crate::selection::Objective;
use crate::sketch::Sketch;
use crate::tune::{PROBE, TUNE};

/// What telling an outcome changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// Measured, and the first of its cell.
    NewCell,
    /// Measured, and better than the elite of its cell so far.
    Improved {
        /// The elite so far. It stays in the population as long as there is room.
        over: ProgramId,
    },
    /// Measured, and in the population, but not the best of its cell.
    Joined,
    /// Measured, and worse than all in a full population: known, but it becomes no parent.
    NotAdded,
    /// Not measured: counted, and remembered with its parent.
    Failed,
    /// An outcome for this number was told before; nothing changed.
    AlreadyTold,
}

impl Search {
    /// Takes in how a program ended, of which nobody says who made it. (For more, [`Search::tell_proposal`].)
    pub fn tell(&mut self, program: &Program, outcome: &Outcome) -> Added {
        if self.is_told(program.id) {
            return Added::AlreadyTold;
        }
        self.tell_proposal(Proposal::of_program(program, self.language), outcome)
    }

    /// Takes in how a proposal ended that led to no program: [`Outcome::NoProposal`], [`Outcome::Patch`], ...
    /// `parent` and `island` are the ask's.
    pub fn tell_without_program(
        &mut self,
        id: ProgramId,
        parent: ProgramId,
        island: usize,
        outcome: &Outcome,
    ) -> Added {
        let proposal = Proposal {
            id,
            parent: Some(parent),
            island,
            generation: 0,
            code: None,
            proposer: String::new(),
            operator: String::new(),
            model: None,
            cost: None,
            repairs: None,
        };
        self.tell_proposal(proposal, outcome)
    }

    /// Takes in how a proposal ended.
    pub fn tell_proposal(&mut self, mut proposal: Proposal, outcome: &Outcome) -> Added {
        if self.is_told(proposal.id) {
            return Added::AlreadyTold;
        }
        if proposal.parent.is_none() && self.initial.is_none() {
            self.initial = Some(proposal.id);
        }
        self.attempts.count(outcome);
        let parent = proposal.parent.and_then(|id| self.slot(id));
        if let Some(parent) = parent {
            self.entries.get_mut(parent).children += 1;
        }
        let parent_score = parent.map(|slot| self.entries.get(slot).score.get());
        let improvement = outcome.score().zip(parent_score).map(|(score, parent)| score.get() - parent);
        self.arms.note(&self.config.bandit, &proposal, improvement);
        self.repairs.note(&proposal, outcome);
        if let Some(parent) = proposal.parent {
            let was_measured = outcome.measured().is_some() && proposal.code.is_some();
            self.attempts.remember(proposal.id, parent, was_measured);
        }
        let probed = self.confirm_probe(&mut proposal, outcome);
        if let Some(tunable) = proposal.code.as_ref().and_then(Fingerprint::tunable) {
            let score = self.score_of(&proposal, outcome);
            if outcome.was_evaluated() || score.is_some() {
                self.tunings.note(tunable, score);
            }
        }
        let island = self.islands.existing(proposal.island);
        let (added, improved) = match (outcome.measured(), proposal.code) {
            (Some(measured), Some(code)) => {
                let entry = Entry {
                    id: proposal.id,
                    parent: proposal.parent,
                    island,
                    generation: proposal.generation,
                    score: measured.score,
                    error: measured.score_error,
                    merit: Entry::merit(measured.score, measured.score_error, self.config.score_caution),
                    measurements: 1,
                    children: 0,
                    hash: code.hash,
                    features: self
                        .axes
                        .features(measured, code.tokens, || self.diversity(&code.sketch, None)),
                    cell: Cell::default(),
                    sketch: code.sketch,
                    tokens: code.tokens,
                    objectives: objectives(measured, self.config.selection.objectives()),
                    tunable: code.tunable,
                };
                let (place, improved) = self.join(entry);
                if let (Some(probed), Some(probe)) = (probed, self.slot(proposal.id)) {
                    self.probes.found(probed, probe);
                }
                let added = match place {
                    Place::NewCell => Added::NewCell,
                    Place::Improved(over) => Added::Improved { over },
                    Place::Population => Added::Joined,
                    Place::Outside => Added::NotAdded,
                };
                (added, improved)
            }
            _ => {
                self.told.insert(proposal.id, None);
                (Added::Failed, false)
            }
        };
        self.islands.count(island, improved, &self.entries, self.best);
        let min_improvement = self.config.early_stopping.map_or(0.0, |it| it.min_improvement);
        self.drought.count(self.best().map(|best| best.score), min_improvement);
        added
    }

    /// Counts a probe. If its score isn't its parent's, the parent; else its mark is no longer one.
    fn confirm_probe(&mut self, proposal: &mut Proposal, outcome: &Outcome) -> Option<Slot> {
        let parent = proposal.parent.filter(|_| proposal.operator == PROBE)?;
        self.probes.count(parent, outcome);
        let slot = self.slot(parent);
        let differs = |slot: &Slot| {
            outcome.measured().is_some_and(|measured| probes::differs(self.entries.get(*slot), measured))
        };
        let confirmed = slot.filter(differs);
        if confirmed.is_none()
            && let Some(code) = &mut proposal.code
        {
            code.tunable = None;
        }
        confirmed
    }

    /// The score that a program has: its own, or where tuning came upon a program that there was already, that one's.
    fn score_of(&self, proposal: &Proposal, outcome: &Outcome) -> Option<Score> {
        let known = match outcome {
            Outcome::Duplicate { of } => Some(*of),
            Outcome::NoChange => proposal.parent,
            _ => None,
        };
        let known = known.filter(|_| proposal.operator == TUNE).and_then(|id| self.get(id));
        outcome.score().or(known.map(|entry| entry.score))
    }

    /// Takes another measurement of a program in: its estimate is that of all its measurements, and it is ranked by that.
    /// A measurement that failed changes nothing. Whether something changed.
    pub fn tell_again(&mut self, id: ProgramId, outcome: &Outcome) -> bool {
        let (Some(slot), Some(measured)) = (self.slot(id), outcome.measured()) else { return false };
        let entry = self.entries.get_mut(slot);
        entry.measured_again(measured.score, measured.score_error, self.config.score_caution);
        let score = entry.score.get();
        let mut bins_changed = false;
        if let Some(position) = self.axes.score() {
            entry.features[position] = Some(score);
            // The score that was may have been the end of the range.
            self.axes.restart(self.entries.iter());
            bins_changed = true;
        }
        let objectives = self.config.selection.objectives();
        if let Some(position) = objectives.iter().position(|objective| objective.metric == "score") {
            let sign = if objectives[position].minimize { -1.0 } else { 1.0 };
            self.entries.get_mut(slot).objectives[position] = sign * score;
        }
        let entry = self.entries.get_mut(slot);
        entry.cell = self.axes.cell(&entry.features);
        // Before anything is put into a list: lists must be in order for that.
        self.islands.reorder(&self.entries, slot);
        if bins_changed {
            self.rebin();
        }
        self.best = (0..self.entries.len() as Slot).min_by(|one, two| self.entries.rank(*one, *two));
        true
    }

    /// Takes a measured program in. Where it stands on its island, and whether it is the best there.
    fn join(&mut self, entry: Entry) -> (Place, bool) {
        let bins_changed = self.axes.include(&entry.features);
        let (id, home, everywhere) = (entry.id, entry.island, entry.parent.is_none());
        let slot = self.entries.push(entry);
        self.told.insert(id, Some(slot));
        if self.best.is_none_or(|best| self.entries.is_better(slot, best)) {
            self.best = Some(slot);
        }
        if self.refer_to(slot) || bins_changed {
            self.rebin();
        } else {
            let entry = self.entries.get_mut(slot);
            entry.cell = self.axes.cell(&entry.features);
        }
        self.islands.join(&self.entries, slot, home, everywhere)
    }

    /// Mean distance of a program from the references (but for itself).
    fn diversity(&self, sketch: &Sketch, itself: Option<Slot>) -> f64 {
        let others = self.references.iter().filter(|slot| Some(**slot) != itself);
        diversity(sketch, others.map(|slot| &self.entries.get(*slot).sketch))
    }

    /// Makes a program a reference for diversity if more are needed. All programs' diversity changes by that.
    fn refer_to(&mut self, slot: Slot) -> bool {
        let Some(position) = self.axes.diversity() else { return false };
        let hash = self.entries.get(slot).hash;
        if self.references.len() >= self.config.diversity_reference_size
            || self.references.iter().any(|reference| self.entries.get(*reference).hash == hash)
        {
            return false;
        }
        self.references.push(slot);
        for slot in 0..self.entries.len() as Slot {
            let value = self.diversity(&self.entries.get(slot).sketch, Some(slot));
            self.entries.get_mut(slot).features[position] = Some(value);
        }
        self.axes.restart(self.entries.iter());
        true
    }

    /// Puts every program into its cell anew.
    fn rebin(&mut self) {
        for entry in self.entries.iter_mut() {
            entry.cell = self.axes.cell(&entry.features);
        }
        self.islands.rebin(&self.entries);
    }
}

/// A program's objectives, all to be maximised; the worst possible value where one wasn't measured.
fn objectives(measured: &Measured, objectives: &[Objective]) -> Box<[f64]> {
    let value = |objective: &Objective| {
        let value = match objective.metric.as_str() {
            "score" => Some(measured.score.get()),
            metric => measured.metrics.get(metric).copied().filter(|value| value.is_finite()),
        };
        value.map_or(f64::NEG_INFINITY, |value| if objective.minimize { -value } else { value })
    };
    objectives.iter().map(value).collect()
}
