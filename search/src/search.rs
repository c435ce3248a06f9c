//! The search itself: `ask` for the next proposal, `tell` how it ended.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::arms::Arms;
use crate::attempts::Attempts;
use crate::bandit::{Arm, Policy};
use crate::config::{ConfigError, SearchConfig};
use crate::early_stopping::Drought;
use crate::entry::{Entries, Entry, Slot};
use crate::feature::{Axes, Cell, diversity};
use crate::fingerprint::Fingerprint;
use crate::island::Place;
use crate::islands::Islands;
use crate::outcome::{Measured, Outcome, Score};
use crate::probes::{self, Probes};
use crate::program::{Language, Program, ProgramId};
use crate::proposal::Proposal;
use crate::select::{self, Pool};
use crate::selection::Objective;
use crate::sketch::Sketch;
use crate::tune::{PROBE, TUNE, Tunings};
use crate::view::IslandView;

/// What to propose next.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// The proposal's number, which becomes the program's.
    pub number: u64,
    /// The island that the program is made for.
    pub island: usize,
    /// The program to start from.
    pub parent: ProgramId,
    /// Other programs worth a look, best first; never the parent, none twice.
    pub inspirations: Vec<ProgramId>,
    /// How much more than usual to change, 0 for as usual.
    pub widening: u32,
    /// Who is to propose; none: there is no choice.
    pub proposer: Option<String>,
    /// The operator to use, if the proposer has it; none: the proposer's choice.
    pub operator: Option<String>,
    /// The model to ask, if the proposer asks one; none: the proposer's choice.
    pub model: Option<String>,
    /// Values for the parent's marked numbers: nothing else is to be changed. Then the operator is [`TUNE`].
    pub tune: Option<Vec<f64>>,
    /// Change one number of the parent that has no mark, mark it, and leave the rest. Then the operator is [`PROBE`].
    pub probe: bool,
    /// For everything random that the proposer does.
    pub seed: u64,
}

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

/// A search in progress. Its state is a function of configuration, seed and the outcomes told so far.
#[derive(Debug, Clone)]
pub struct Search {
    config: SearchConfig,
    language: Language,
    seed: u64,
    axes: Axes,
    entries: Entries,
    /// The programs that diversity is measured against.
    references: Vec<Slot>,
    islands: Islands,
    /// Every number told; with a slot if it was measured.
    told: BTreeMap<ProgramId, Option<Slot>>,
    /// The program that the run began with, once it is told.
    initial: Option<ProgramId>,
    best: Option<Slot>,
    attempts: Attempts,
    arms: Arms,
    tunings: Tunings,
    probes: Probes,
    drought: Drought,
}

impl Search {
    /// A search that knows nothing yet.
    ///
    /// # Errors
    /// If the configuration doesn't pass [`SearchConfig::check`].
    pub fn new(config: SearchConfig, language: Language, seed: u64) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            axes: Axes::new(&config),
            islands: Islands::new(&config, seed),
            arms: Arms::new(&config.bandit),
            config,
            language,
            seed,
            entries: Entries::default(),
            references: Vec::new(),
            told: BTreeMap::new(),
            initial: None,
            best: None,
            attempts: Attempts::default(),
            tunings: Tunings::default(),
            probes: Probes::default(),
            drought: Drought::default(),
        })
    }

    /// Lets the bandit choose among these models; without, or with fixed weights, the proposer chooses. The list may change
    /// from session to session: what was told of a model that is gone is not lost, and a new one is tried.
    #[must_use]
    pub fn with_models(mut self, models: Vec<Arm>) -> Self {
        self.arms.models = if self.config.bandit.policy == Policy::Fixed { Vec::new() } else { models };
        self
    }

    /// Chooses among these proposers, with fixed weights too. Of one there is no choice. The list may change as that of the
    /// models may.
    #[must_use]
    pub fn with_proposers(mut self, proposers: Vec<Arm>) -> Self {
        self.arms.proposers = if proposers.len() > 1 { proposers } else { Vec::new() };
        self
    }

    /// What to propose as number `number`: a pure function of this search's state and the number. None as long as
    /// the initial program's outcome wasn't told, because there is nothing to start from.
    pub fn ask(&self, number: u64) -> Option<Ask> {
        let initial = self.initial?;
        // A stream of its own for each number: what one ask draws doesn't touch another's.
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(number);
        let seed = rng.random();
        let island = self.islands.of(number, &mut rng);
        let since = self.islands.get(island).since();
        let mut ask = Ask {
            number,
            island,
            parent: initial,
            inspirations: Vec::new(),
            widening: self.islands.stagnation().widening(since),
            proposer: None,
            operator: None,
            model: None,
            tune: None,
            probe: false,
            seed,
        };
        if let Some((slot, values)) = self.tune(island, &mut rng) {
            ask.parent = self.entries.get(slot).id;
            ask.operator = Some(if values.is_some() { TUNE } else { PROBE }.to_owned());
            ask.probe = values.is_none();
            ask.tune = values;
            return Some(ask);
        }
        self.arms.choose(&self.config.bandit, &mut ask, &mut rng);
        let pool = self.pool(island);
        if pool.population.is_empty() {
            // An island that has just begun: wide changes of what is known, and no look at others.
            if let Some(slot) = self.islands.any_elite(&mut rng).filter(|_| island > 0) {
                ask.parent = self.entries.get(slot).id;
                ask.widening = self.config.stagnation.max_widening;
            }
            return Some(ask);
        }
        let Some(parent) = select::parent(pool, &self.config, &mut rng) else { return Some(ask) };
        ask.parent = self.entries.get(parent).id;
        let ancestors = self.ancestors(parent);
        ask.inspirations = select::inspirations(pool, parent, &ancestors, &self.config, &mut rng)
            .into_iter()
            .map(|slot| self.entries.get(slot).id)
            .collect();
        Some(ask)
    }

    fn pool(&self, island: usize) -> Pool<'_> {
        let island = self.islands.get(island);
        Pool {
            entries: &self.entries,
            population: island.population(),
            elites: island.elites(),
            front: island.front(),
            stagnation: self.islands.stagnation().degree(island.since()),
        }
    }

    /// The program's parent, that one's parent, and so on: one for every four inspirations.
    fn ancestors(&self, slot: Slot) -> Vec<Slot> {
        let parent = |slot: Slot| self.entries.get(slot).parent.and_then(|id| self.slot(id));
        std::iter::successors(parent(slot), |slot| parent(*slot))
            .take(self.config.num_inspirations.div_ceil(4))
            .collect()
    }

    /// In its share of the proposals: the best program of the island with marked numbers (its own, or its probes'), and values
    /// for these. Or the best program without values: it is to be probed. That takes every other one of these proposals
    /// as long as there is something to tune, else all.
    fn tune(&self, island: usize, rng: &mut ChaCha8Rng) -> Option<(Slot, Option<Vec<f64>>)> {
        let find = self.config.tune.find;
        if (self.tunings.is_empty() && !find) || rng.random::<f64>() >= self.config.tune.share {
            return None;
        }
        let elites = self.islands.get(island).elites();
        let best = elites.first().filter(|slot| find && self.probes.has_room(self.entries.get(**slot).id));
        let probe = best.map(|slot| (*slot, None));
        if probe.is_some() && (self.tunings.is_empty() || rng.random::<bool>()) {
            return probe;
        }
        let carriers = elites.iter().flat_map(|slot| std::iter::once(*slot).chain(self.probes.of(*slot)));
        let tuned = carriers.into_iter().find_map(|slot| {
            let tunable = self.entries.get(slot).tunable.as_deref()?;
            Some((slot, Some(self.tunings.suggest(tunable, self.config.tune.warm_up, rng)?)))
        });
        tuned.or(probe)
    }

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
                if let Some(parent) = proposal.parent {
                    self.attempts.failed(proposal.id, parent);
                }
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

    fn slot(&self, id: ProgramId) -> Option<Slot> {
        self.told.get(&id).copied().flatten()
    }

    /// A measured program.
    pub fn get(&self, id: ProgramId) -> Option<&Entry> {
        self.slot(id).map(|slot| self.entries.get(slot))
    }

    /// Whether this number's outcome was told.
    pub fn is_told(&self, id: ProgramId) -> bool {
        self.told.contains_key(&id)
    }

    /// Outcomes told.
    pub fn told(&self) -> usize {
        self.told.len()
    }

    /// Outcomes told, by [`Outcome::kind`].
    pub fn outcomes(&self) -> &BTreeMap<&'static str, u64> {
        self.attempts.by_kind()
    }

    /// The best program measured; of equal ones the earliest.
    pub fn best(&self) -> Option<&Entry> {
        self.best.map(|slot| self.entries.get(slot))
    }

    /// Outcomes told since the best score last improved, in the sense of `early_stopping`.
    pub fn since_improvement(&self) -> u64 {
        self.drought.outcomes()
    }

    /// Whether `early_stopping` says that the run should end.
    pub fn should_stop(&self) -> bool {
        self.config.early_stopping.is_some_and(|it| self.drought.outcomes() >= it.patience)
    }

    /// All measured programs, in the order in which they were told.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The best of each cell of each island, best first, none twice.
    pub fn elites(&self) -> Vec<&Entry> {
        let mut slots: Vec<Slot> =
            self.islands.all().iter().flat_map(|island| island.elites().iter().copied()).collect();
        slots.sort_unstable_by(|one, two| self.entries.rank(*one, *two));
        slots.dedup();
        slots.into_iter().map(|slot| self.entries.get(slot)).collect()
    }

    /// The islands, in order.
    pub fn islands(&self) -> impl Iterator<Item = IslandView<'_>> {
        self.islands.all().iter().enumerate().map(|(index, island)| IslandView {
            index,
            island,
            entries: &self.entries,
            axes: &self.axes,
            config: &self.config,
        })
    }

    /// The latest proposals from this parent that came to nothing (up to 32), oldest first.
    pub fn failures_of(&self, parent: ProgramId) -> impl DoubleEndedIterator<Item = ProgramId> {
        self.attempts.latest(parent)
    }

    /// How many proposals from this parent came to nothing.
    pub fn failure_count(&self, parent: ProgramId) -> u64 {
        self.attempts.failures(parent)
    }

    /// The settings.
    pub fn config(&self) -> &SearchConfig {
        &self.config
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
