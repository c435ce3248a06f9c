//! The search itself: `ask` for the next proposal, `tell` how it ended.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::attempts::Attempts;
use crate::code_hash::CodeHash;
use crate::config::{ConfigError, SearchConfig};
use crate::entry::{Entries, Entry, Slot};
use crate::feature::{Axes, Cell, diversity};
use crate::island::{Island, Place};
use crate::outcome::{Measured, Outcome};
use crate::program::{Language, Program, ProgramId};
use crate::select::{self, Pool};
use crate::sketch::Sketch;
use crate::tokens::Tokens;
use crate::view::IslandView;

/// What to propose next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The proposal's number, which becomes the program's.
    pub number: u64,
    /// The island that the program is made for.
    pub island: usize,
    /// The program to start from.
    pub parent: ProgramId,
    /// Other programs worth a look, best first; never the parent, none twice.
    pub inspirations: Vec<ProgramId>,
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
    islands: Vec<Island>,
    /// Every number told; with a slot if it was measured.
    told: BTreeMap<ProgramId, Option<Slot>>,
    /// The program that the run began with, once it is told.
    initial: Option<ProgramId>,
    best: Option<Slot>,
    attempts: Attempts,
}

impl Search {
    /// A search that knows nothing yet.
    ///
    /// # Errors
    /// If the configuration doesn't pass [`SearchConfig::check`].
    pub fn new(config: SearchConfig, language: Language, seed: u64) -> Result<Self, ConfigError> {
        config.check()?;
        let capacity = config.population_size / config.num_islands;
        Ok(Self {
            axes: Axes::new(&config),
            islands: vec![Island::new(capacity); config.num_islands],
            config,
            language,
            seed,
            entries: Entries::default(),
            references: Vec::new(),
            told: BTreeMap::new(),
            initial: None,
            best: None,
            attempts: Attempts::default(),
        })
    }

    /// The island that a proposal of this number is made for.
    pub fn island_of(&self, number: u64) -> usize {
        (number % self.islands.len() as u64) as usize
    }

    /// What to propose as number `number`: a pure function of this search's state and the number. None as long as
    /// the initial program's outcome wasn't told, because there is nothing to start from.
    pub fn ask(&self, number: u64) -> Option<Ask> {
        let initial = self.initial?;
        // A stream of its own for each number: what one ask draws doesn't touch another's.
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(number);
        let seed = rng.random();
        let island = self.island_of(number);
        let pool = Pool {
            entries: &self.entries,
            population: self.islands[island].population(),
            elites: self.islands[island].elites(),
        };
        let Some(parent) = select::parent(pool, &self.config, &mut rng) else {
            return Some(Ask { number, island, parent: initial, inspirations: Vec::new(), seed });
        };
        let ancestor = self.entries.get(parent).parent.and_then(|id| self.slot(id));
        let inspirations = select::inspirations(pool, parent, ancestor, &self.config, &mut rng)
            .into_iter()
            .map(|slot| self.entries.get(slot).id)
            .collect();
        Some(Ask { number, island, parent: self.entries.get(parent).id, inspirations, seed })
    }

    /// Takes in how a program ended.
    pub fn tell(&mut self, program: &Program, outcome: &Outcome) -> Added {
        if self.is_told(program.id) {
            return Added::AlreadyTold;
        }
        if program.parent.is_none() && self.initial.is_none() {
            self.initial = Some(program.id);
        }
        let Some(measured) = outcome.measured() else {
            return self.fail(program.id, program.parent, program.island, outcome);
        };
        self.attempts.count(outcome);
        let place = self.join(program, measured);
        self.count(program.island);
        match place {
            Place::NewCell => Added::NewCell,
            Place::Improved(over) => Added::Improved { over },
            Place::Population => Added::Joined,
            Place::Outside => Added::NotAdded,
        }
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
        if self.is_told(id) { Added::AlreadyTold } else { self.fail(id, Some(parent), island, outcome) }
    }

    fn fail(&mut self, id: ProgramId, parent: Option<ProgramId>, island: usize, outcome: &Outcome) -> Added {
        self.told.insert(id, None);
        self.attempts.count(outcome);
        if let Some(parent) = parent {
            self.attempts.failed(id, parent);
        }
        self.count(island);
        Added::Failed
    }

    fn join(&mut self, program: &Program, measured: &Measured) -> Place {
        let tokens = Tokens::of(&program.source, self.language);
        let sketch = Sketch::of(&tokens);
        let features = self.axes.features(measured, tokens.len(), || self.diversity(&sketch, None));
        let bins_changed = self.axes.include(&features);
        let slot = self.entries.push(Entry {
            id: program.id,
            parent: program.parent,
            island: program.island % self.islands.len(),
            generation: program.generation,
            score: measured.score,
            hash: CodeHash::of(&tokens),
            features,
            cell: Cell::default(),
            sketch,
            tokens: tokens.len(),
        });
        self.told.insert(program.id, Some(slot));
        if self.best.is_none_or(|best| self.entries.is_better(slot, best)) {
            self.best = Some(slot);
        }
        if self.refer_to(slot) || bins_changed {
            self.rebin();
        } else {
            let entry = self.entries.get_mut(slot);
            entry.cell = self.axes.cell(&entry.features);
        }
        let home = self.entries.get(slot).island;
        let mut place = Place::Outside;
        for (index, island) in self.islands.iter_mut().enumerate() {
            // A program without a parent is where every island begins.
            if index == home || program.parent.is_none() {
                let placed = island.join(&self.entries, slot);
                if index == home {
                    place = placed;
                }
            }
        }
        place
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
        for island in &mut self.islands {
            island.rebin(&self.entries);
        }
    }

    /// Counts an outcome of an island, and lets it pass elites on when it is time.
    fn count(&mut self, island: usize) {
        let island = island % self.islands.len();
        let told = self.islands[island].count();
        let interval = self.config.exchange_interval;
        if interval > 0 && told.is_multiple_of(interval) {
            self.exchange(island);
        }
    }

    /// Passes an island's best elites on to the next island on the ring. Only those made here: what came by an
    /// exchange goes no further itself (its children do), or else all islands would soon hold the same.
    fn exchange(&mut self, from: usize) {
        let to = (from + 1) % self.islands.len();
        let elites = self.islands[from].elites();
        let number = (elites.len() as f64 * self.config.exchange_rate).ceil() as usize;
        let natives = elites.iter().copied().filter(|slot| self.entries.get(*slot).island == from);
        let leaving: Vec<Slot> = natives.take(number).collect();
        for slot in leaving {
            if !self.islands[to].knows(self.entries.get(slot).hash) {
                self.islands[to].join(&self.entries, slot);
            }
        }
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

    /// All measured programs, in the order in which they were told.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The best of each cell of each island, best first, none twice.
    pub fn elites(&self) -> Vec<&Entry> {
        let mut slots: Vec<Slot> =
            self.islands.iter().flat_map(|island| island.elites().iter().copied()).collect();
        slots.sort_unstable_by(|one, two| self.entries.rank(*one, *two));
        slots.dedup();
        slots.into_iter().map(|slot| self.entries.get(slot)).collect()
    }

    /// The islands, in order.
    pub fn islands(&self) -> impl Iterator<Item = IslandView<'_>> {
        self.islands.iter().enumerate().map(|(index, island)| IslandView {
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
