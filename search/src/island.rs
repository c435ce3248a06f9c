//! A sub-population with its own grid of elites.

use std::collections::{BTreeMap, BTreeSet};

use crate::code_hash::CodeHash;
use crate::entry::{Entries, Slot};
use crate::feature::Cell;
use crate::program::ProgramId;
use crate::select::pareto;

/// What became of a program on an island.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    NewCell,
    Improved(ProgramId),
    Population,
    Outside,
}

/// An island. All lists hold slots.
///
/// `members` are all programs that ever came here: they compete for cells whenever bins change, so that no elite is
/// lost. `population` is what parents are drawn from: the best members and all elites.
#[derive(Debug, Clone)]
pub(crate) struct Island {
    capacity: usize,
    members: Vec<Slot>,
    codes: BTreeSet<CodeHash>,
    grid: BTreeMap<Cell, Slot>,
    elites: Vec<Slot>,
    population: Vec<Slot>,
    /// Beaten by none in every objective, as far as there is room; empty if there is but one objective.
    front: Vec<Slot>,
    front_room: usize,
    told: u64,
    /// Outcomes told since a program made here was better than all.
    since: u64,
    retired: bool,
}

impl Island {
    pub(crate) fn new(capacity: usize, front_room: usize) -> Self {
        Self {
            capacity,
            members: Vec::new(),
            codes: BTreeSet::new(),
            grid: BTreeMap::new(),
            elites: Vec::new(),
            population: Vec::new(),
            front: Vec::new(),
            front_room,
            told: 0,
            since: 0,
            retired: false,
        }
    }

    /// All programs that ever came here, in order.
    pub(crate) fn members(&self) -> &[Slot] {
        &self.members
    }

    /// What parents are drawn from, best first.
    pub(crate) fn population(&self) -> &[Slot] {
        &self.population
    }

    /// The best of each cell, best first.
    pub(crate) fn elites(&self) -> &[Slot] {
        &self.elites
    }

    /// Cells with their elites.
    pub(crate) fn grid(&self) -> &BTreeMap<Cell, Slot> {
        &self.grid
    }

    /// Outcomes told to this island.
    pub(crate) fn told(&self) -> u64 {
        self.told
    }

    /// Counts an outcome of a proposal made for this island.
    pub(crate) fn count(&mut self, improved: bool) {
        self.told += 1;
        self.since = if improved { 0 } else { self.since + 1 };
    }

    /// Outcomes told since a program made here was better than all that were here.
    pub(crate) fn since(&self) -> u64 {
        self.since
    }

    /// Beaten by none in every objective.
    pub(crate) fn front(&self) -> &[Slot] {
        &self.front
    }

    /// Whether no more proposals are made for it.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired
    }

    /// No more proposals are made for it. Its programs stay what they are: elites for others to begin from.
    pub(crate) fn retire(&mut self) {
        self.retired = true;
    }

    /// Whether a program with this code ever came here.
    pub(crate) fn knows(&self, code: CodeHash) -> bool {
        self.codes.contains(&code)
    }

    /// Takes a program in. Its cell must be up to date.
    pub(crate) fn join(&mut self, entries: &Entries, slot: Slot) -> Place {
        let entry = entries.get(slot);
        self.members.push(slot);
        self.codes.insert(entry.hash);
        insert(&mut self.population, entries, slot);
        pareto::join(&mut self.front, entries, slot, self.front_room);
        let place = match self.grid.get(&entry.cell).copied() {
            None => Place::NewCell,
            Some(owner) if entries.is_better(slot, owner) => {
                remove(&mut self.elites, entries, owner);
                Place::Improved(entries.get(owner).id)
            }
            Some(_) => Place::Population,
        };
        if place != Place::Population {
            self.grid.insert(entry.cell, slot);
            insert(&mut self.elites, entries, slot);
        }
        self.evict(entries);
        if place == Place::Population && !holds(&self.population, entries, slot) {
            Place::Outside
        } else {
            place
        }
    }

    /// Puts all members into their cells anew, after these have changed. Members that had left the population come
    /// back if they now hold a cell.
    pub(crate) fn rebin(&mut self, entries: &Entries) {
        self.grid.clear();
        for &slot in &self.members {
            let owner = self.grid.entry(entries.get(slot).cell).or_insert(slot);
            if entries.is_better(slot, *owner) {
                *owner = slot;
            }
        }
        self.elites = self.grid.values().copied().collect();
        self.elites.sort_unstable_by(|one, two| entries.rank(*one, *two));
        for &slot in &self.elites {
            insert(&mut self.population, entries, slot);
        }
        self.evict(entries);
    }

    /// Puts all lists in order anew, after a member's score has changed.
    pub(crate) fn reorder(&mut self, entries: &Entries) {
        self.population.sort_unstable_by(|one, two| entries.rank(*one, *two));
        self.front.clear();
        for &slot in &self.members {
            pareto::join(&mut self.front, entries, slot, self.front_room);
        }
        self.rebin(entries);
    }

    /// The worst leave until there is room for all; who holds a cell never leaves.
    fn evict(&mut self, entries: &Entries) {
        while self.population.len() > self.capacity {
            let leaves = self
                .population
                .iter()
                .rposition(|slot| self.grid.get(&entries.get(*slot).cell) != Some(slot));
            match leaves {
                Some(position) => self.population.remove(position),
                None => break,
            };
        }
    }
}

fn holds(list: &[Slot], entries: &Entries, slot: Slot) -> bool {
    list.binary_search_by(|other| entries.rank(*other, slot)).is_ok()
}

/// Inserts into a list that is sorted best first, unless it is there already.
fn insert(list: &mut Vec<Slot>, entries: &Entries, slot: Slot) {
    if let Err(position) = list.binary_search_by(|other| entries.rank(*other, slot)) {
        list.insert(position, slot);
    }
}

fn remove(list: &mut Vec<Slot>, entries: &Entries, slot: Slot) {
    if let Ok(position) = list.binary_search_by(|other| entries.rank(*other, slot)) {
        list.remove(position);
    }
}
