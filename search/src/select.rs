//! Which program is the next parent, and which others are shown beside it.

use rand::{Rng, RngExt};

use crate::config::SearchConfig;
use crate::entry::{Entries, Entry, Slot};

/// Weight of an island's worst program against its best in the draw by score: everything has a chance.
const LEAST_WEIGHT: f64 = 0.05;

/// Programs looked at for those that differ most.
const DIVERSE_CANDIDATES: usize = 12;

/// What selection sees of an island.
#[derive(Clone, Copy)]
pub(crate) struct Pool<'a> {
    pub(crate) entries: &'a Entries,
    /// Best first.
    pub(crate) population: &'a [Slot],
    /// Best first.
    pub(crate) elites: &'a [Slot],
}

/// Draws a parent by OpenEvolve's mixture: from all of the island (exploration), from its archive (exploitation),
/// else weighted by score. None if nobody lives on the island.
pub(crate) fn parent(pool: Pool<'_>, config: &SearchConfig, rng: &mut impl Rng) -> Option<Slot> {
    let draw: f64 = rng.random();
    if draw < config.exploration_ratio {
        uniform(pool.population, rng)
    } else if draw < config.exploration_ratio + config.exploitation_ratio {
        uniform(&pool.elites[..config.archive_size.min(pool.elites.len())], rng)
    } else {
        by_score(pool, rng)
    }
}

fn uniform(list: &[Slot], rng: &mut impl Rng) -> Option<Slot> {
    (!list.is_empty()).then(|| list[rng.random_range(0..list.len())])
}

/// Draws with weights that rise evenly from [`LEAST_WEIGHT`] for the worst score to 1 for the best, wherever these
/// lie; equal scores have equal weights. By rejection, so that nothing is summed over the population.
fn by_score(pool: Pool<'_>, rng: &mut impl Rng) -> Option<Slot> {
    let score = |slot: &Slot| pool.entries.get(*slot).score.get();
    let (best, worst) = (score(pool.population.first()?), score(pool.population.last()?));
    // Halves, because the difference of two finite scores may be infinite.
    let width = best / 2.0 - worst / 2.0;
    loop {
        let slot = uniform(pool.population, rng)?;
        let share = if width > 0.0 { (score(&slot) / 2.0 - worst / 2.0) / width } else { 1.0 };
        if rng.random::<f64>() < LEAST_WEIGHT + (1.0 - LEAST_WEIGHT) * share {
            return Some(slot);
        }
    }
}

/// Programs to show beside the parent, best first: the island's best, the parent's nearest ancestor, and programs
/// that differ much from all of these. No program and no code appears twice, and the parent doesn't.
pub(crate) fn inspirations(
    pool: Pool<'_>,
    parent: Slot,
    ancestor: Option<Slot>,
    config: &SearchConfig,
    rng: &mut impl Rng,
) -> Vec<Slot> {
    let wanted = config.num_inspirations;
    let mut shown = Shown { entries: pool.entries, slots: vec![parent] };
    let top = ((wanted as f64 * config.elite_selection_ratio).ceil() as usize).min(wanted);
    for &slot in pool.elites {
        if shown.slots.len() > top {
            break;
        }
        shown.add(slot);
    }
    if let Some(ancestor) = ancestor
        && shown.slots.len() <= wanted
    {
        shown.add(ancestor);
    }
    // Elites first: they are the best of their kind.
    for list in [pool.elites, pool.population] {
        shown.add_diverse(list, wanted, rng);
    }
    let mut inspirations = shown.slots.split_off(1);
    inspirations.sort_unstable_by(|one, two| pool.entries.rank(*one, *two));
    inspirations
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
