//! The search itself: `ask` for the next proposal, `tell` how it ended.

mod added;
mod ask;

use std::collections::BTreeMap;

pub use self::added::Added;
pub use self::ask::{Ask, CROSSOVER};
use crate::arms::Arms;
use crate::attempts::Attempts;
use crate::bandit::{Arm, Policy};
use crate::config::{ConfigError, SearchConfig};
use crate::early_stopping::Drought;
use crate::entry::{Entries, Entry, Slot};
use crate::feature::Axes;
use crate::islands::Islands;
use crate::probes::Probes;
use crate::program::{Language, ProgramId};
use crate::repair::Repairs;
use crate::tune::Tunings;
use crate::view::IslandView;

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
    repairs: Repairs,
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
            repairs: Repairs::default(),
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
        self.attempts.failed(parent)
    }

    /// The latest programs made from this parent that were measured (up to 32), oldest first.
    pub fn measured_children_of(&self, parent: ProgramId) -> impl DoubleEndedIterator<Item = ProgramId> {
        self.attempts.measured(parent)
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
