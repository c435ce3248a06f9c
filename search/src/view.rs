//! An island as others may see it.

use crate::config::SearchConfig;
use crate::entry::{Entries, Entry, Slot};
use crate::feature::Axes;
use crate::island::Island;

/// An island, to look at.
#[derive(Clone, Copy)]
pub struct IslandView<'a> {
    pub(crate) index: usize,
    pub(crate) island: &'a Island,
    pub(crate) entries: &'a Entries,
    pub(crate) axes: &'a Axes,
    pub(crate) config: &'a SearchConfig,
}

/// A cell of a grid with the best program in it.
#[derive(Debug, Clone, PartialEq)]
pub struct CellView<'a> {
    /// The bin along each of `feature_dimensions`; none where the program has no value.
    pub bins: Vec<Option<usize>>,
    /// The best program that ever fell into the cell under the bins of today.
    pub elite: &'a Entry,
}

impl<'a> IslandView<'a> {
    /// Number of the island, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Outcomes told to it.
    pub fn told(&self) -> u64 {
        self.island.told()
    }

    /// Outcomes told to it since a program made on it was better than all that were there.
    pub fn since_improvement(&self) -> u64 {
        self.island.since()
    }

    /// Whether proposals are still made for it.
    pub fn is_active(&self) -> bool {
        !self.island.is_retired()
    }

    /// With several objectives: programs that none beats in all of them.
    pub fn front(&self) -> impl ExactSizeIterator<Item = &'a Entry> {
        self.list(self.island.front())
    }

    /// Its best program.
    pub fn best(&self) -> Option<&'a Entry> {
        self.elites().next()
    }

    /// What parents are drawn from, best first.
    pub fn population(&self) -> impl ExactSizeIterator<Item = &'a Entry> {
        self.list(self.island.population())
    }

    /// The best of each cell, best first.
    pub fn elites(&self) -> impl ExactSizeIterator<Item = &'a Entry> {
        self.list(self.island.elites())
    }

    /// The elites that exploitation draws from, best first.
    pub fn archive(&self) -> impl ExactSizeIterator<Item = &'a Entry> {
        self.elites().take(self.config.archive_size)
    }

    /// All programs that ever came here, made here or exchanged, in the order of their coming.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &'a Entry> {
        self.list(self.island.members())
    }

    /// The occupied cells, in order of their bins.
    pub fn cells(&self) -> impl ExactSizeIterator<Item = CellView<'a>> {
        let Self { entries, axes, .. } = *self;
        self.island
            .grid()
            .iter()
            .map(move |(cell, slot)| CellView { bins: axes.bins(*cell), elite: entries.get(*slot) })
    }

    /// The cell that a program falls into.
    pub fn bins_of(&self, entry: &Entry) -> Vec<Option<usize>> {
        self.axes.bins(entry.cell)
    }

    fn list(&self, slots: &'a [Slot]) -> impl ExactSizeIterator<Item = &'a Entry> + use<'a> {
        let entries = self.entries;
        slots.iter().map(move |slot| entries.get(*slot))
    }
}
