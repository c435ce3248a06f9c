//! What no candidate can have known: numbers drawn afresh for each evaluation.

use rand::Rng;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::stop::Stop;

/// Seeds stay below this, so that whoever stores them as a float or a signed integer loses nothing.
const SEEDS: u64 = 1 << 53;

/// One evaluation's secret. It never leaves this process.
pub(crate) struct Secret {
    key: [u8; 32],
}

impl Secret {
    /// From the operating system's randomness.
    pub(crate) fn draw() -> Result<Self, Stop> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)
            .map_err(|error| Stop::Broken(format!("the system gives no random numbers: {error}")))?;
        Ok(Self { key })
    }

    /// A source of whatever has to be unknown.
    pub(crate) fn generator(&self) -> ChaCha20Rng {
        ChaCha20Rng::from_seed(self.key)
    }
}

/// The next seed of a generator.
pub(crate) fn fresh_seed(rng: &mut ChaCha20Rng) -> u64 {
    rng.next_u64() % SEEDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_evaluations_draw_other_seeds_and_none_is_too_large_for_a_float() {
        let drawn = || {
            let mut generator = Secret::draw().unwrap().generator();
            (0..1_000).map(|_| fresh_seed(&mut generator)).collect::<Vec<_>>()
        };
        let (one, other) = (drawn(), drawn());
        assert!(one.iter().all(|seed| *seed < 1 << 53 && !other.contains(seed)));
    }
}
