//! Which islands pass elites on to which.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

/// The `exchange_topology` key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topology {
    /// Each to the next one, the last to the first.
    #[default]
    Ring,
    /// Each time to another one, drawn.
    Random,
    /// All to the first, and the first to all.
    Star,
}

impl Topology {
    /// Where an island passes elites on to. `islands` are those that take part, ascending. `draw` makes each exchange of a
    /// random topology another one.
    pub(crate) fn targets(self, from: usize, islands: &[usize], seed: u64, draw: u64) -> Vec<usize> {
        let Some(place) = islands.iter().position(|island| *island == from) else { return Vec::new() };
        if islands.len() < 2 {
            return Vec::new();
        }
        match self {
            Self::Ring => vec![islands[(place + 1) % islands.len()]],
            Self::Random => {
                // The last stream, which no number of a proposal will reach.
                let mut rng = ChaCha8Rng::seed_from_u64(seed ^ draw.rotate_left(32));
                rng.set_stream(u64::MAX);
                let other = rng.random_range(0..islands.len() - 1);
                vec![islands[if other < place { other } else { other + 1 }]]
            }
            Self::Star if place == 0 => islands[1..].to_vec(),
            Self::Star => vec![islands[0]],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topology_reaches_whom_it_says() {
        let islands = [0, 2, 5];
        assert_eq!(Topology::Ring.targets(5, &islands, 1, 1), [0]);
        assert_eq!(Topology::Star.targets(0, &islands, 1, 1), [2, 5]);
        assert_eq!(Topology::Star.targets(5, &islands, 1, 1), [0]);
        let mut random: Vec<usize> =
            (0..50).flat_map(|draw| Topology::Random.targets(2, &islands, 1, draw)).collect();
        random.sort_unstable();
        random.dedup();
        assert_eq!(random, [0, 5]);
        for topology in [Topology::Ring, Topology::Random, Topology::Star] {
            assert!(topology.targets(0, &[0], 1, 1).is_empty());
            assert!(topology.targets(1, &islands, 1, 1).is_empty());
        }
    }
}
