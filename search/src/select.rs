//! Which program is the next parent.

mod inspirations;
pub(crate) mod pareto;

use rand::{Rng, RngExt};

pub(crate) use self::inspirations::inspirations;
use crate::config::SearchConfig;
use crate::entry::{Entries, Slot};
use crate::selection::Selection;

/// Weight of an island's worst program against its best in the draw by score: everything has a chance.
const LEAST_WEIGHT: f64 = 0.05;

/// What selection sees of an island.
#[derive(Clone, Copy)]
pub(crate) struct Pool<'a> {
    pub(crate) entries: &'a Entries,
    /// Best first.
    pub(crate) population: &'a [Slot],
    /// Best first.
    pub(crate) elites: &'a [Slot],
    /// Beaten by none in every objective; empty if there is but one.
    pub(crate) front: &'a [Slot],
    /// How stagnant the island is, 0 to 1.
    pub(crate) stagnation: f64,
}

impl<'a> Pool<'a> {
    /// The best elites.
    fn archive(&self, config: &SearchConfig) -> &'a [Slot] {
        &self.elites[..config.archive_size.min(self.elites.len())]
    }
}

/// Draws a parent. None if nobody lives on the island, or if the strategy wants the initial program.
pub(crate) fn parent(pool: Pool<'_>, config: &SearchConfig, rng: &mut impl Rng) -> Option<Slot> {
    match &config.selection {
        Selection::Adaptive { least, most } => {
            if rng.random::<f64>() < least + (most - least) * pool.stagnation {
                mixture(pool, config, rng)
            } else {
                pool.population.first().copied()
            }
        }
        Selection::Mixture => mixture(pool, config, rng),
        Selection::PowerLaw { exponent } => power_law(pool.population, *exponent, rng),
        Selection::Weighted { sharpness } => weighted(pool, pool.archive(config), *sharpness, rng),
        Selection::Tournament { size } => {
            // The list is in order: the least index is the best.
            let length = pool.population.len();
            let least = (0..*size).filter(|_| length > 0).map(|_| rng.random_range(0..length)).min()?;
            pool.population.get(least).copied()
        }
        Selection::Pareto { .. } => pareto::draw(pool.entries, pool.front, rng),
        Selection::Sequential => pool.population.first().copied(),
        Selection::Independent => None,
    }
}

/// OpenEvolve's mixture: from all of the island (exploration), from its archive (exploitation), else weighted by score.
fn mixture(pool: Pool<'_>, config: &SearchConfig, rng: &mut impl Rng) -> Option<Slot> {
    let draw: f64 = rng.random();
    if draw < config.exploration_ratio {
        uniform(pool.population, rng)
    } else if draw < config.exploration_ratio + config.exploitation_ratio {
        uniform(pool.archive(config), rng)
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
    let score = |slot: &Slot| pool.entries.get(*slot).merit.get();
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

/// Draws the n-th of a list with a weight of nearly n^-exponent: the continuous power law from 1 to one past the end,
/// rounded down. It takes no sum over the list.
fn power_law(list: &[Slot], exponent: f64, rng: &mut impl Rng) -> Option<Slot> {
    let worst = list.len().checked_sub(1)?;
    let (end, draw) = (list.len() as f64 + 1.0, rng.random::<f64>());
    let power = 1.0 - exponent;
    let rank = if power.abs() < 1e-9 {
        end.powf(draw)
    } else {
        (1.0 + draw * (end.powf(power) - 1.0)).powf(1.0 / power)
    };
    list.get((rank as usize).saturating_sub(1).min(worst)).copied()
}

/// `ShinkaEvolve`'s weights, see [`Selection::Weighted`].
fn weighted(pool: Pool<'_>, archive: &[Slot], sharpness: f64, rng: &mut impl Rng) -> Option<Slot> {
    // Halves, because the difference of two finite scores may be infinite.
    let scores: Vec<f64> = archive.iter().map(|slot| pool.entries.get(*slot).merit.get() / 2.0).collect();
    let center = median(&scores)?;
    let deviations: Vec<f64> = scores.iter().map(|score| (score - center).abs()).collect();
    let scale = median(&deviations)?.max(5e-7);
    let weights: Vec<f64> = archive
        .iter()
        .zip(&scores)
        .map(|(slot, score)| {
            let sigmoid = 1.0 / (1.0 + (-sharpness * (score - center) / scale).exp());
            // Not quite nothing, so that a sum of all is never zero.
            sigmoid.max(1e-12) / (1.0 + f64::from(pool.entries.get(*slot).children))
        })
        .collect();
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    let drawn = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    archive.get(drawn.unwrap_or(archive.len() - 1)).copied()
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(low / 2.0 + high / 2.0)
}
