//! What no candidate can have known: numbers drawn afresh for each evaluation.

use rand::Rng;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::stop::Stop;

/// Seeds stay below this, so that whoever stores them as a float or a signed integer loses nothing.
const SEEDS: u64 = 1 << 53;

/// The stream of everything that has no number of its own; no plan has such a seed.
const OTHERS: u64 = u64::MAX;

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

    /// The seed that a trial really gets, instead of the plan's: the same for the same plan's seed, so that arms can share
    /// seeds, and another one in every evaluation.
    pub(crate) fn seed(&self, plan_seed: u64) -> u64 {
        fresh_seed(&mut self.stream(plan_seed))
    }

    /// A source of whatever else has to be unknown.
    pub(crate) fn generator(&self) -> ChaCha20Rng {
        self.stream(OTHERS)
    }

    /// `ChaCha20` keyed with the secret: streams tell nothing of one another.
    fn stream(&self, number: u64) -> ChaCha20Rng {
        let mut rng = ChaCha20Rng::from_seed(self.key);
        rng.set_stream(number);
        rng
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
    fn arms_with_one_plan_seed_share_a_real_one_that_another_evaluation_does_not() {
        let (one, other) = (Secret::draw().unwrap(), Secret::draw().unwrap());
        assert_eq!(one.seed(42), one.seed(42));
        assert_ne!(one.seed(42), one.seed(43));
        assert_ne!(one.seed(42), other.seed(42));
        assert!((0..1_000).all(|plan| one.seed(plan) < 1 << 53));
    }
}
