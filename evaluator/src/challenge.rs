//! Which layers a candidate has to compute in a check: the announced ones, and some that nobody can have prepared for.

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha20Rng;
use trial_protocol::{Challenge, CheckCase};

use crate::secret::fresh_seed;

/// All announced cases and `secret` unannounced ones, in an order and with values that nobody can know before.
pub(crate) fn draw(announced: &[CheckCase], secret: u32, rng: &mut ChaCha20Rng) -> Vec<Challenge> {
    let mut cases: Vec<CheckCase> = Vec::new();
    for case in announced {
        if !cases.contains(case) {
            cases.push(case.clone());
        }
    }
    let mut further: Vec<CheckCase> = (0..secret).filter_map(|_| unannounced(announced, rng)).collect();
    if let Some(first) = further.first_mut() {
        // The smallest adapter is what a kernel for one shape forgets first.
        first.rank = 1;
    }
    cases.append(&mut further);
    cases.shuffle(rng);
    cases.into_iter().map(|case| Challenge { case, seed: fresh_seed(rng) }).collect()
}

/// One announced layer with values that nobody can know before; a quantized one if there is any.
pub(crate) fn draw_one(announced: &[CheckCase], rng: &mut ChaCha20Rng) -> Vec<Challenge> {
    let quantized: Vec<&CheckCase> = announced.iter().filter(|case| case.quantization.is_some()).collect();
    let case = quantized.choose(rng).copied().or_else(|| announced.choose(rng));
    case.map(|case| Challenge { case: case.clone(), seed: fresh_seed(rng) }).into_iter().collect()
}

/// A layer of any shape. How its weight is stored and what types it has are what some announced layer has too: a kernel may
/// rely on that.
fn unannounced(announced: &[CheckCase], rng: &mut ChaCha20Rng) -> Option<CheckCase> {
    let quantization = announced.choose(rng)?.quantization;
    let dtype = announced.choose(rng)?.dtype;
    Some(CheckCase {
        batch: rng.random_range(1..=3),
        length: rng.random_range(1..=40),
        // Whole groups of up to 128, and whole words of packed weights.
        input: 128 * rng.random_range(1..=4),
        output: 64 * rng.random_range(1..=8),
        rank: rng.random_range(1..=16),
        scale: rng.random_range(0.5..32.0),
        quantization,
        bias: rng.random_bool(0.5),
        dtype,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Checks;
    use crate::secret::Secret;

    #[test]
    fn every_announced_case_is_there_once_among_secret_ones() {
        let announced = Checks::default().cases;
        let twice: Vec<CheckCase> = announced.iter().chain(&announced).cloned().collect();
        let challenges = draw(&twice, 5, &mut Secret::draw().unwrap().generator());
        assert_eq!(challenges.len(), announced.len() + 5);
        for case in &announced {
            assert_eq!(challenges.iter().filter(|challenge| challenge.case == *case).count(), 1, "{case:?}");
        }
    }

    #[test]
    fn two_evaluations_have_other_shapes_seeds_and_orders() {
        let announced = Checks::default().cases;
        let drawn = || draw(&announced, 5, &mut Secret::draw().unwrap().generator());
        let (one, other) = (drawn(), drawn());
        let cases = |challenges: &[Challenge]| -> Vec<CheckCase> {
            challenges.iter().map(|challenge| challenge.case.clone()).collect()
        };
        assert_ne!(cases(&one), cases(&other));
        let seeds = |challenges: &[Challenge]| -> Vec<u64> {
            challenges.iter().map(|challenge| challenge.seed).collect()
        };
        assert!(seeds(&one).iter().all(|seed| !seeds(&other).contains(seed)));
    }

    #[test]
    fn a_single_challenge_is_about_a_quantized_layer() {
        let announced = Checks::default().cases;
        let mut rng = Secret::draw().unwrap().generator();
        for _ in 0..50 {
            let challenges = draw_one(&announced, &mut rng);
            assert!(challenges.len() == 1 && challenges[0].case.quantization.is_some());
        }
        let plain: Vec<CheckCase> =
            announced.into_iter().filter(|case| case.quantization.is_none()).collect();
        assert_eq!(draw_one(&plain, &mut rng).len(), 1);
    }

    #[test]
    fn secret_layers_are_stored_like_announced_ones_and_can_be_quantized() {
        let announced = Checks::default().cases;
        let mut rng = Secret::draw().unwrap().generator();
        for _ in 0..500 {
            let case = unannounced(&announced, &mut rng).unwrap();
            assert!(announced.iter().any(|other| other.quantization == case.quantization));
            assert!(announced.iter().any(|other| other.dtype == case.dtype));
            assert!(
                case.quantization.is_none_or(|q| case.input % q.group_size == 0 && case.output % 32 == 0)
            );
            assert!((1..=16).contains(&case.rank) && (1..=40).contains(&case.length), "{case:?}");
        }
    }
}
