//! Which programs are shown beside the parent.

use rand::Rng;

use super::{Pool, pareto, uniform};
use crate::config::SearchConfig;
use crate::entry::{Entries, Entry, Slot};

/// Programs looked at for those that differ most.
const DIVERSE_CANDIDATES: usize = 12;

/// What is shown beside a parent.
pub(crate) struct Inspirations {
    /// Best first.
    pub(crate) all: Vec<Slot>,
    /// Those of them that were chosen because they differ.
    pub(crate) different: Vec<Slot>,
}

/// Programs to show beside the parent, best first: the island's best (or, with several objectives, the least crowded of
/// the front), the parent's nearest ancestors, and programs that differ much from all of these. No program and no code
/// appears twice, and the parent doesn't.
pub(crate) fn inspirations(
    pool: Pool<'_>,
    parent: Slot,
    ancestors: &[Slot],
    config: &SearchConfig,
    rng: &mut impl Rng,
) -> Inspirations {
    let wanted = config.num_inspirations;
    let mut shown = Shown { entries: pool.entries, slots: vec![parent] };
    let top = ((wanted as f64 * config.elite_selection_ratio).ceil() as usize).min(wanted);
    let spread = pareto::spread(pool.entries, pool.front);
    for &slot in spread.iter().chain(pool.elites) {
        if shown.slots.len() > top {
            break;
        }
        shown.add(slot);
    }
    for &ancestor in ancestors {
        if shown.slots.len() <= wanted {
            shown.add(ancestor);
        }
    }
    let good = shown.slots.len();
    // Elites first: they are the best of their kind.
    for list in [pool.elites, pool.population] {
        shown.add_diverse(list, wanted, rng);
    }
    let mut all = shown.slots.split_off(1);
    let mut different = all[good - 1..].to_vec();
    for list in [&mut all, &mut different] {
        list.sort_unstable_by(|one, two| pool.entries.rank(*one, *two));
    }
    Inspirations { all, different }
}

/// The parent and the inspirations chosen so far.
struct Shown<'a> {
    entries: &'a Entries,
    slots: Vec<Slot>,
}

impl Shown<'_> {
    fn has(&self, entry: &Entry) -> bool {
        self.slots.iter().any(|slot| self.entries.get(*slot).hash == entry.hash)
    }

    fn add(&mut self, slot: Slot) {
        if !self.has(self.entries.get(slot)) {
            self.slots.push(slot);
        }
    }

    /// Adds the one of a few drawn programs that is farthest from all shown, until enough are.
    fn add_diverse(&mut self, list: &[Slot], wanted: usize, rng: &mut impl Rng) {
        if self.slots.len() > wanted {
            return;
        }
        let entries = self.entries;
        let distance = |one: Slot, two: Slot| entries.get(one).sketch.distance(&entries.get(two).sketch);
        let drawn: Vec<Slot> = if list.len() <= DIVERSE_CANDIDATES {
            list.to_vec()
        } else {
            (0..DIVERSE_CANDIDATES).filter_map(|_| uniform(list, rng)).collect()
        };
        // Each with its distance from the nearest shown.
        let mut candidates: Vec<(Slot, f64)> = drawn
            .into_iter()
            .filter(|slot| !self.has(entries.get(*slot)))
            .map(|slot| {
                (slot, self.slots.iter().map(|shown| distance(slot, *shown)).fold(f64::INFINITY, f64::min))
            })
            .collect();
        while self.slots.len() <= wanted {
            // `max_by` takes the last of equals; going backwards makes it the first drawn.
            let Some(&(farthest, _)) = candidates.iter().rev().max_by(|one, two| one.1.total_cmp(&two.1))
            else {
                break;
            };
            self.add(farthest);
            candidates.retain(|(slot, _)| !self.has(entries.get(*slot)));
            for (slot, nearest) in &mut candidates {
                *nearest = nearest.min(distance(*slot, farthest));
            }
        }
    }
}
