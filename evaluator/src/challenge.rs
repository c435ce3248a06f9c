//! Which layers a candidate has to compute in a check: the announced ones, and some that nobody can have prepared for.

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha20Rng;
use trial_protocol::{Challenge, CheckCase, Dtype};

use crate::secret::fresh_seed;

/// Most calls that nobody compares, of the one challenge that has many.
const MOST_IDLE_CALLS: f64 = 200.0;

/// All announced cases and `secret` unannounced ones, in an order and with values that nobody can know before. One of the
/// smaller layers is called many times before it is compared.
pub(crate) fn draw(announced: &[CheckCase], secret: u32, rng: &mut ChaCha20Rng) -> Vec<Challenge> {
    let mut cases: Vec<CheckCase> = Vec::new();
    for case in announced {
        if !cases.contains(case) {
            cases.push(case.clone());
        }
    }
    // Turn by turn, so that each kind of layer is among so many; which ones a smaller number leaves out is chance.
    let mut extremes = Extreme::ALL;
    extremes.shuffle(rng);
    cases.extend(
        extremes
            .iter()
            .cycle()
            .take(secret as usize)
            .filter_map(|extreme| unannounced(announced, *extreme, rng)),
    );
    cases.shuffle(rng);
    let patient = small_quantized(&cases, rng);
    let challenge = |(position, case)| {
        let idle_calls = if Some(position) == patient {
            // As likely between 5 and 10 as between 100 and 200.
            MOST_IDLE_CALLS.powf(rng.random_range(0.3..1.0)) as u32
        } else {
            rng.random_range(0..=2)
        };
        Challenge { case, seed: fresh_seed(rng), idle_calls }
    };
    cases.into_iter().enumerate().map(challenge).collect()
}

/// The position of some layer that is quick to compute; a quantized one if there is any.
fn small_quantized(cases: &[CheckCase], rng: &mut ChaCha20Rng) -> Option<usize> {
    let work = |case: &CheckCase| {
        i64::from(case.batch * case.length) * i64::from(case.input) * i64::from(case.output)
    };
    let mut positions: Vec<usize> = (0..cases.len()).collect();
    positions.sort_by_key(|&position| (cases[position].quantization.is_none(), work(&cases[position])));
    positions.truncate(positions.len().div_ceil(3));
    positions.choose(rng).copied()
}

/// One announced layer with values that nobody can know before; a quantized one if there is any.
pub(crate) fn draw_one(announced: &[CheckCase], rng: &mut ChaCha20Rng) -> Vec<Challenge> {
    let quantized: Vec<&CheckCase> = announced.iter().filter(|case| case.quantization.is_some()).collect();
    let case = quantized.choose(rng).copied().or_else(|| announced.choose(rng));
    case.map(|case| Challenge { case: case.clone(), seed: fresh_seed(rng), idle_calls: 0 })
        .into_iter()
        .collect()
}

/// What is out of the ordinary with a secret layer: what a kernel for the layers at hand forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extreme {
    /// The smallest adapter.
    RankOne,
    /// A larger adapter than any of the announced layers', of an odd rank.
    LargeRank,
    /// One row: a product with a vector.
    OneRow,
    /// Many rows in one sequence.
    Long,
    /// Many short sequences.
    ManySequences,
    /// Many inputs.
    Wide,
    /// Many outputs, not a multiple of 64.
    Tall,
    /// As many inputs as outputs.
    Square,
    /// An adapter that counts for little, or for much.
    Scale,
    /// Not quantized, where some announced layer isn't.
    Plain,
    /// Half precision, where some announced layer has it.
    Half,
    /// Nothing.
    Ordinary,
}

impl Extreme {
    const ALL: [Self; 12] = [
        Self::RankOne,
        Self::LargeRank,
        Self::OneRow,
        Self::Long,
        Self::ManySequences,
        Self::Wide,
        Self::Tall,
        Self::Square,
        Self::Scale,
        Self::Plain,
        Self::Half,
        Self::Ordinary,
    ];
}

/// A layer of any shape, extreme in one way. How its weight is stored and what types it has are what some announced layer has
/// too: a kernel may rely on that. But for [`Extreme::Plain`] it is quantized if any announced layer is: what isn't reaches no
/// quantized kernel.
fn unannounced(announced: &[CheckCase], extreme: Extreme, rng: &mut ChaCha20Rng) -> Option<CheckCase> {
    let stored_so: Vec<&CheckCase> =
        announced.iter().filter(|case| case.quantization.is_some() != (extreme == Extreme::Plain)).collect();
    let quantization = stored_so.choose(rng).copied().or_else(|| announced.choose(rng))?.quantization;
    let half: Vec<&CheckCase> = announced.iter().filter(|case| case.dtype != Dtype::Float32).collect();
    let dtype = match extreme {
        Extreme::Half => half.choose(rng).copied().or_else(|| announced.choose(rng))?.dtype,
        _ => announced.choose(rng)?.dtype,
    };
    let case = CheckCase {
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
    };
    Some(match extreme {
        Extreme::RankOne => CheckCase { rank: 1, ..case },
        Extreme::LargeRank => CheckCase { rank: 2 * rng.random_range(8..=32) + 1, ..case },
        Extreme::OneRow => CheckCase { batch: 1, length: 1, ..case },
        Extreme::Long => CheckCase { batch: 1, length: rng.random_range(65..=200), ..case },
        Extreme::ManySequences => {
            CheckCase { batch: rng.random_range(4..=9), length: rng.random_range(1..=12), ..case }
        }
        Extreme::Wide => {
            CheckCase { input: 128 * rng.random_range(5..=10), length: 1 + case.length % 8, ..case }
        }
        Extreme::Tall => {
            CheckCase { output: 32 * (2 * rng.random_range(9..=18) + 1), length: 1 + case.length % 8, ..case }
        }
        Extreme::Square => CheckCase { output: case.input, ..case },
        Extreme::Scale => {
            let small = rng.random_bool(0.5);
            let scale = if small { rng.random_range(0.01..0.5) } else { rng.random_range(32.0..200.0) };
            CheckCase { scale, ..case }
        }
        Extreme::Plain | Extreme::Half | Extreme::Ordinary => case,
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
        for extreme in Extreme::ALL.into_iter().cycle().take(600) {
            let case = unannounced(&announced, extreme, &mut rng).unwrap();
            assert!(announced.iter().any(|other| other.quantization == case.quantization));
            assert!(announced.iter().any(|other| other.dtype == case.dtype));
            assert!(
                case.quantization.is_none_or(|q| case.input % q.group_size == 0 && case.output % 32 == 0),
                "{case:?}"
            );
            assert_eq!(case.quantization.is_none(), extreme == Extreme::Plain, "{case:?}");
        }
    }

    #[test]
    fn as_many_secret_layers_as_there_are_extremes_have_each_of_them() {
        let announced = Checks::default().cases;
        let count = Extreme::ALL.len();
        assert!(Checks::default().secret_cases as usize >= count);
        for _ in 0..100 {
            let drawn = draw(&announced, count as u32, &mut Secret::draw().unwrap().generator());
            let secret: Vec<&CheckCase> = drawn
                .iter()
                .map(|challenge| &challenge.case)
                .filter(|case| !announced.contains(case))
                .collect();
            let any = |what: fn(&CheckCase) -> bool| secret.iter().any(|case| what(case));
            assert!(any(|case| case.rank == 1 && case.quantization.is_some()), "{secret:?}");
            assert!(any(|case| case.rank > 16) && any(|case| case.batch * case.length == 1), "{secret:?}");
            assert!(any(|case| case.length > 64) && any(|case| case.batch > 3), "{secret:?}");
            assert!(any(|case| case.input > 512) && any(|case| case.output > 512), "{secret:?}");
            assert!(any(|case| case.input == case.output), "{secret:?}");
            assert!(any(|case| case.scale < 0.5 || case.scale >= 32.0), "{secret:?}");
            assert!(any(|case| case.quantization.is_none()), "{secret:?}");
            assert!(any(|case| case.dtype != Dtype::Float32), "{secret:?}");
        }
    }

    #[test]
    fn one_layer_is_called_more_often_than_the_others_and_it_is_a_quantized_one() {
        let announced = Checks::default().cases;
        for _ in 0..100 {
            let drawn = draw(&announced, 12, &mut Secret::draw().unwrap().generator());
            let patient: Vec<&Challenge> =
                drawn.iter().filter(|challenge| challenge.idle_calls > 2).collect();
            assert_eq!(patient.len(), 1, "{drawn:?}");
            assert!(patient[0].case.quantization.is_some() && patient[0].idle_calls <= 200, "{patient:?}");
        }
    }
}
