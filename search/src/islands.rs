//! All islands: whose turn it is, exchanges between them, and their coming and going.

use rand::{Rng, RngExt};

use crate::config::SearchConfig;
use crate::entry::{Entries, Slot};
use crate::exchange::Topology;
use crate::island::{Island, Place};
use crate::stagnation::{Answer, Stagnation};

/// The islands, retired ones too: their elites are part of the archive that new islands begin from.
#[derive(Debug, Clone)]
pub(crate) struct Islands {
    all: Vec<Island>,
    /// Those that proposals are made for, ascending.
    active: Vec<usize>,
    stagnation: Stagnation,
    /// Islands searched at once: as many as the search began with, or more.
    most: usize,
    capacity: usize,
    front_room: usize,
    interval: u64,
    rate: f64,
    topology: Topology,
    seed: u64,
    exchanges: u64,
}

impl Islands {
    pub(crate) fn new(config: &SearchConfig, seed: u64) -> Self {
        let count = if config.selection.is_control() { 1 } else { config.num_islands };
        let stagnation = if config.selection.is_control() {
            Stagnation { patience: 0, ..config.stagnation.clone() }
        } else {
            config.stagnation.clone()
        };
        let capacity = config.population_size / config.num_islands;
        Self {
            all: vec![Island::new(capacity, config.archive_size); count],
            active: (0..count).collect(),
            most: stagnation.max_islands.max(count),
            stagnation,
            capacity,
            front_room: config.archive_size,
            interval: config.exchange_interval,
            rate: config.exchange_rate,
            topology: config.exchange_topology,
            seed,
            exchanges: 0,
        }
    }

    pub(crate) fn all(&self) -> &[Island] {
        &self.all
    }

    pub(crate) fn get(&self, index: usize) -> &Island {
        &self.all[index]
    }

    /// The settings that hold here: controls have no answers to stagnation.
    pub(crate) fn stagnation(&self) -> &Stagnation {
        &self.stagnation
    }

    /// An island of this number, also if there are fewer than when it was given out (by another configuration).
    pub(crate) fn existing(&self, index: usize) -> usize {
        index % self.all.len()
    }

    fn retire(&mut self, index: usize) {
        self.all[index].retire();
        self.active.retain(|other| *other != index);
    }

    /// The island that a proposal of this number is made for: round and round if islands can't become stagnant; else
    /// drawn, so that those that still improve have a larger share.
    pub(crate) fn of(&self, number: u64, rng: &mut impl Rng) -> usize {
        let active = &self.active;
        if self.stagnation.patience == 0 {
            return active[(number % active.len() as u64) as usize];
        }
        let share = |index: &usize| self.stagnation.share(self.all[*index].since());
        let mut left = rng.random::<f64>() * active.iter().map(share).sum::<f64>();
        let drawn = active.iter().position(|index| {
            left -= share(index);
            left < 0.0
        });
        active[drawn.unwrap_or(active.len() - 1)]
    }

    /// Any elite of any island, retired ones too.
    pub(crate) fn any_elite(&self, rng: &mut impl Rng) -> Option<Slot> {
        let inhabited: Vec<&Island> = self.all.iter().filter(|island| !island.elites().is_empty()).collect();
        if inhabited.is_empty() {
            return None;
        }
        let elites = inhabited[rng.random_range(0..inhabited.len())].elites();
        Some(elites[rng.random_range(0..elites.len())])
    }

    /// Takes a program in on its island, or on all. Where it stands at home, and whether it is the best there.
    pub(crate) fn join(
        &mut self,
        entries: &Entries,
        slot: Slot,
        home: usize,
        everywhere: bool,
    ) -> (Place, bool) {
        if everywhere {
            for (index, island) in self.all.iter_mut().enumerate() {
                if index != home {
                    island.join(entries, slot);
                }
            }
        }
        let place = self.all[home].join(entries, slot);
        (place, self.all[home].population().first() == Some(&slot))
    }

    pub(crate) fn rebin(&mut self, entries: &Entries) {
        for island in &mut self.all {
            island.rebin(entries);
        }
    }

    /// After a program's score has changed.
    pub(crate) fn reorder(&mut self, entries: &Entries, slot: Slot) {
        for island in &mut self.all {
            if island.members().contains(&slot) {
                island.reorder(entries);
            }
        }
    }

    /// Counts an outcome of an island; exchanges and answers to stagnation happen when they are due.
    pub(crate) fn count(&mut self, index: usize, improved: bool, entries: &Entries, best: Option<Slot>) {
        let island = &mut self.all[index];
        island.count(improved);
        let (told, since) = (island.told(), island.since());
        if island.is_retired() {
            return;
        }
        if self.interval > 0 && told.is_multiple_of(self.interval) {
            self.exchange(index, entries);
        }
        if self.stagnation.is_answer_due(since) {
            self.begin_anew(index, entries, best);
        }
    }

    /// Passes an island's best elites on. Only those made there: what came by an exchange goes no further itself (its
    /// children do), or else all islands would soon hold the same. And only to islands that don't improve by themselves.
    fn exchange(&mut self, from: usize, entries: &Entries) {
        self.exchanges += 1;
        let number = (self.all[from].elites().len() as f64 * self.rate).ceil() as usize;
        let elites = self.all[from].elites().iter().copied();
        let leaving: Vec<Slot> =
            elites.filter(|slot| entries.get(*slot).island == from).take(number).collect();
        for to in self.topology.targets(from, &self.active, self.seed, self.exchanges) {
            let island = &mut self.all[to];
            if island.since() < self.stagnation.patience {
                continue;
            }
            for &slot in &leaving {
                if !island.knows(entries.get(slot).hash) {
                    island.join(entries, slot);
                }
            }
        }
    }

    /// A new island, instead of this one or beside it.
    fn begin_anew(&mut self, index: usize, entries: &Entries, best: Option<Slot>) {
        if self.stagnation.answer == Answer::Restart {
            self.retire(index);
        }
        self.active.push(self.all.len());
        self.all.push(Island::new(self.capacity, self.front_room));
        let active = &self.active;
        if active.len() > self.most {
            let born = self.all.len() - 1;
            let holds_best =
                |index: &&usize| best.is_some() && self.all[**index].population().first().copied() == best;
            let keeper = active.iter().find(holds_best);
            // One without any program is worse than all; of equal ones the oldest.
            let given_up =
                active.iter().copied().filter(|index| *index != born && Some(index) != keeper).min_by_key(
                    |index| self.all[*index].population().first().map(|slot| entries.get(*slot).merit),
                );
            // With room for one only, there is no other to give up.
            self.retire(given_up.unwrap_or(index));
        }
    }
}
