//! Which layers a candidate has to compute in a check: the announced ones, and some that nobody can have prepared for.
//!
//! Whatever is drawn from a range is drawn in layers of that range, one for each challenge: what is wrong in a part of it is found
//! out each time, not most times.

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha20Rng;
use trial_protocol::{AdapterKind, Challenge, CheckCase, Dtype, Quantization, Sibling, Values};

use crate::secret::fresh_seed;

/// Most calls that nobody compares, and most companions, of one challenge.
const MOST_IDLE: f64 = 200.0;
/// Challenges with many of them: about 2, 6, 15, 35, 80 and 180. Others have few.
const PATIENT: usize = 6;
/// The ranks of secret layers without a rank of their own.
const RANKS: std::ops::RangeInclusive<i32> = 1..=16;

/// All announced cases and `secret` unannounced ones, in an order and with values that nobody can know before. Some of the
/// smaller layers are called many times before they are compared, among many others.
pub(crate) fn draw(announced: &[CheckCase], secret: u32, rng: &mut ChaCha20Rng) -> Vec<Challenge> {
    let mut cases: Vec<CheckCase> = Vec::new();
    for case in announced {
        if !cases.contains(case) {
            cases.push(case.clone());
        }
    }
    cases.extend(unannounced(&cases, secret as usize, rng));
    cases.shuffle(rng);
    let mut idle: Vec<u32> = cases.iter().map(|_| rng.random_range(0..=2)).collect();
    let mut companions: Vec<u32> = cases.iter().map(|_| rng.random_range(0..=2)).collect();
    let patient = small_quantized(&cases, PATIENT, rng);
    for many in [&mut idle, &mut companions] {
        let numbers = strata(patient.len(), rng);
        for (&position, part) in patient.iter().zip(numbers) {
            many[position] = MOST_IDLE.powf(part).ceil() as u32;
        }
    }
    let values = values(&cases, rng);
    let rest = idle.into_iter().zip(companions).zip(values);
    let challenge = |(case, ((idle_calls, companions), values))| {
        let seed = fresh_seed(rng);
        Challenge { case, seed, idle_calls, companions, values }
    };
    cases.into_iter().zip(rest).map(challenge).collect()
}

/// One number of each of so many equal parts of 0..1, in any order.
fn strata(count: usize, rng: &mut ChaCha20Rng) -> Vec<f64> {
    let mut parts: Vec<f64> =
        (0..count).map(|part| (part as f64 + rng.random_range(0.0..1.0)) / count as f64).collect();
    parts.shuffle(rng);
    parts
}

/// Sizes of each layer's values: a kernel that clamps, saturates or ignores what is small is right for ordinary ones only.
fn values(cases: &[CheckCase], rng: &mut ChaCha20Rng) -> Vec<Values> {
    let mut parts = || strata(cases.len(), rng);
    let (first, second, lora_b, cotangent, uneven) = (parts(), parts(), parts(), parts(), parts());
    let of = |(at, case): (usize, &CheckCase)| {
        // Half precision of 16 bits ends at 65504, and loses digits below 0.00006.
        let is_narrow = case.dtype == Dtype::Float16;
        let reach = |narrow: (f64, f64), wide: (f64, f64), part: f64| {
            let (least, most) = if is_narrow { narrow } else { wide };
            2.0_f64.powf(least + (most - least) * part) as f32
        };
        Values {
            first: reach((-6.0, 6.0), (-12.0, 12.0), first[at]),
            second: reach((-3.0, 3.0), (-8.0, 8.0), second[at]),
            // Ordinary in every second layer.
            lora_b: reach((-6.0, 0.0), (-14.0, 0.0), (2.0 * lora_b[at]).min(1.0)),
            cotangent: reach((-6.0, 3.0), (-18.0, 8.0), cotangent[at]),
            uneven: uneven[at] < 0.5,
        }
    };
    cases.iter().enumerate().map(of).collect()
}

/// Positions of some layers that are quick to compute; quantized ones of single precision, where most is seen, if there are any.
fn small_quantized(cases: &[CheckCase], count: usize, rng: &mut ChaCha20Rng) -> Vec<usize> {
    let work = |case: &CheckCase| {
        let outputs: i64 = case.layers().iter().map(|layer| i64::from(layer.output)).sum();
        i64::from(case.batch * case.length) * i64::from(case.input) * outputs
    };
    let mut positions: Vec<usize> = (0..cases.len()).collect();
    let order = |case: &CheckCase| (case.quantization.is_none(), case.dtype != Dtype::Float32, work(case));
    positions.sort_by_key(|&position| order(&cases[position]));
    positions.truncate(cases.len().div_ceil(3).max(count));
    positions.shuffle(rng);
    positions.truncate(count);
    positions
}

/// One announced layer with values that nobody can know before, a quantized one if there is any; and one of those that share x, if there
/// is any.
pub(crate) fn draw_few(announced: &[CheckCase], rng: &mut ChaCha20Rng) -> Vec<Challenge> {
    let (alone, together): (Vec<&CheckCase>, Vec<_>) =
        announced.iter().partition(|case| case.siblings.is_empty());
    let quantized: Vec<&CheckCase> =
        alone.iter().copied().filter(|case| case.quantization.is_some()).collect();
    let case = quantized.choose(rng).or_else(|| alone.choose(rng)).copied();
    let cases: Vec<&CheckCase> = case.into_iter().chain(together.choose(rng).copied()).collect();
    cases.into_iter().map(|case| Challenge::plain(case.clone(), fresh_seed(rng))).collect()
}

/// What is out of the ordinary with a secret layer: what a kernel for the layers at hand forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extreme {
    /// A larger adapter than any of the announced layers'.
    LargeRank,
    /// A much larger one.
    HugeRank,
    /// One row: a product with a vector.
    OneRow,
    /// Two rows, in one sequence or in two.
    TwoRows,
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
    /// An adapter that counts for little.
    SmallScale,
    /// An adapter that counts for much.
    LargeScale,
    /// Not quantized, where some announced layer isn't.
    Plain,
    /// One to three more layers that take the same x.
    Together,
    /// Nothing.
    Ordinary,
    /// Half precision, where some announced layer has it: one for each way of storing weights, and at least two.
    Half,
}

impl Extreme {
    const ALL: [Self; 15] = [
        Self::LargeRank,
        Self::HugeRank,
        Self::OneRow,
        Self::TwoRows,
        Self::Long,
        Self::ManySequences,
        Self::Wide,
        Self::Tall,
        Self::Square,
        Self::SmallScale,
        Self::LargeScale,
        Self::Plain,
        Self::Together,
        Self::Ordinary,
        Self::Half,
    ];
}

/// So many layers of any shape, each extreme in one way, turn by turn, so that each kind of layer is among enough of them; which ones
/// a smaller number leaves out is chance. How their weights are stored and what types they have are what some announced layer has
/// too: a kernel may rely on that. But for [`Extreme::Plain`] they are quantized if any announced layer is: what isn't reaches no
/// quantized kernel. They are of single precision if any announced layer is: there the smallest error shows.
fn unannounced(announced: &[CheckCase], count: usize, rng: &mut ChaCha20Rng) -> Vec<CheckCase> {
    let mut stored: Vec<Option<Quantization>> = Vec::new();
    for case in announced {
        if !stored.contains(&case.quantization) {
            stored.push(case.quantization);
        }
    }
    let (mut quantized, plain): (Vec<_>, Vec<_>) = stored.iter().copied().partition(Option::is_some);
    if quantized.is_empty() {
        quantized.clone_from(&plain);
    }
    quantized.shuffle(rng);
    let of = |is_half: bool| -> Vec<Dtype> {
        let dtypes = announced.iter().map(|case| case.dtype);
        dtypes.filter(|dtype| (*dtype != Dtype::Float32) == is_half).collect()
    };
    let (single, half) = (of(false), of(true));
    let adapter = announced.first().map(|case| case.adapter).unwrap_or_default();
    let mut ranks: Vec<i32> = RANKS.filter(|rank| !announced.iter().any(|case| case.rank == *rank)).collect();
    ranks.shuffle(rng);

    let mut kinds: Vec<Extreme> = Extreme::ALL.to_vec();
    kinds.extend(std::iter::repeat_n(Extreme::Half, quantized.len().max(2) - 1));
    kinds.push(Extreme::Together);
    kinds.shuffle(rng);
    let (mut halves, mut others, first_has_bias) = (0_usize, 0_usize, rng.random_bool(0.5));
    let mut cases = Vec::with_capacity(count);
    let mut at = 0;
    for extreme in kinds.iter().cycle().take(count) {
        let is_half = *extreme == Extreme::Half && !half.is_empty();
        // Each kind of layer takes the ways of storing weights in turn.
        let turn = if is_half { &mut halves } else { &mut others };
        *turn += 1;
        let quantization = match extreme {
            Extreme::Plain if !plain.is_empty() => None,
            _ => quantized.get((*turn - 1) % quantized.len().max(1)).copied().flatten(),
        };
        let dtypes = if is_half || single.is_empty() { &half } else { &single };
        let Some(&dtype) = dtypes.choose(rng) else { break };
        // Every second of each kind has one.
        let bias = first_has_bias == (*turn % 2 == 1);
        let rank = ranks.get(at % ranks.len().max(1)).copied().unwrap_or_else(|| rng.random_range(RANKS));
        // Two bring a rank of their own, and one reaches no quantized kernel.
        at += usize::from(![Extreme::LargeRank, Extreme::HugeRank, Extreme::Plain].contains(extreme));
        let case = CheckCase { quantization, dtype, bias, rank, adapter, ..ordinary(rng) };
        let mut case = shaped(*extreme, case, rng);
        if *extreme == Extreme::Together {
            case.siblings = siblings(&case, &stored, rng);
        }
        cases.push(case);
    }
    cases
}

/// One to three, mostly stored as the first is, as wide as it or not.
fn siblings(case: &CheckCase, stored: &[Option<Quantization>], rng: &mut ChaCha20Rng) -> Vec<Sibling> {
    let mut sibling = || {
        let quantization = match stored.choose(rng) {
            Some(other) if rng.random_ratio(1, 4) => *other,
            _ => case.quantization,
        };
        let output = if rng.random_ratio(1, 3) { case.output } else { 32 * rng.random_range(1..=12) };
        Sibling { output, quantization, bias: rng.random_bool(0.5) }
    };
    let first = sibling();
    let more = [sibling(), sibling()];
    std::iter::once(first).chain(more.into_iter().take(rng.random_range(0..=2))).collect()
}

/// A layer's shape; the rest is to be filled in.
fn ordinary(rng: &mut ChaCha20Rng) -> CheckCase {
    CheckCase {
        batch: rng.random_range(1..=3),
        length: rng.random_range(1..=40),
        // Whole groups of up to 128, and whole words of packed weights.
        input: 128 * rng.random_range(1..=4),
        output: 64 * rng.random_range(1..=8),
        rank: 1,
        scale: rng.random_range(0.5..32.0),
        quantization: None,
        bias: false,
        dtype: Dtype::Float32,
        adapter: AdapterKind::Lora,
        siblings: Vec::new(),
    }
}

/// What is large in one way is small in others: a check is to cost no more than it must.
fn shaped(extreme: Extreme, case: CheckCase, rng: &mut ChaCha20Rng) -> CheckCase {
    let few = 1 + case.length % 8;
    let (input, output) = (case.input.min(256), case.output.min(192));
    match extreme {
        Extreme::LargeRank => CheckCase { rank: rng.random_range(23..=37), ..case },
        Extreme::HugeRank => CheckCase { rank: rng.random_range(49..=80), ..case },
        Extreme::OneRow => CheckCase { batch: 1, length: 1, ..case },
        Extreme::TwoRows => {
            let batch = rng.random_range(1..=2);
            CheckCase { batch, length: 3 - batch, ..case }
        }
        Extreme::Long => CheckCase { batch: 1, length: rng.random_range(170..=260), input, output, ..case },
        Extreme::ManySequences => CheckCase { batch: rng.random_range(9..=17), length: few, ..case },
        Extreme::Wide => CheckCase { input: 128 * rng.random_range(9..=12), output, length: few, ..case },
        Extreme::Tall => {
            CheckCase { output: 32 * (2 * rng.random_range(16..=20) + 1), input, length: few, ..case }
        }
        Extreme::Square => CheckCase { output: case.input, ..case },
        Extreme::SmallScale => CheckCase { scale: rng.random_range(0.01..0.08), ..case },
        Extreme::LargeScale => CheckCase { scale: rng.random_range(80.0..200.0), ..case },
        // MLX's packed product of half precision is slow on a CPU.
        Extreme::Half | Extreme::Together => CheckCase { input, output, length: few, ..case },
        Extreme::Plain | Extreme::Ordinary => case,
    }
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
    fn a_few_challenges_are_about_a_quantized_layer_and_about_layers_that_share_x() {
        let mut announced = Checks::default().cases;
        let mut rng = Secret::draw().unwrap().generator();
        for _ in 0..50 {
            let challenges = draw_few(&announced, &mut rng);
            assert!(challenges.len() == 1 && challenges[0].case.quantization.is_some());
        }
        let sibling = Sibling { output: 64, quantization: None, bias: true };
        announced.push(CheckCase { siblings: vec![sibling], ..announced[0].clone() });
        for _ in 0..50 {
            let challenges = draw_few(&announced, &mut rng);
            assert_eq!(challenges.iter().map(|one| one.case.siblings.len()).collect::<Vec<_>>(), [0, 1]);
        }
        let plain: Vec<CheckCase> =
            announced.into_iter().filter(|case| case.quantization.is_none()).collect();
        assert_eq!(draw_few(&plain, &mut rng).len(), 1);
    }

    #[test]
    fn layers_that_share_x_are_among_the_secret_ones_each_time_and_stored_like_announced_ones() {
        let announced = Checks::default().cases;
        let count = Checks::default().secret_cases;
        let mut widths = Vec::new();
        for _ in 0..50 {
            let drawn = draw(&announced, count, &mut Secret::draw().unwrap().generator());
            let groups: Vec<&CheckCase> = drawn
                .iter()
                .map(|challenge| &challenge.case)
                .filter(|case| !case.siblings.is_empty())
                .collect();
            assert_eq!(groups.len(), 2, "{drawn:?}");
            for layer in groups.iter().flat_map(|group| group.layers()) {
                assert!(announced.iter().any(|other| other.quantization == layer.quantization), "{layer:?}");
            }
            widths.extend(
                groups.iter().map(|group| (group.siblings.len(), group.siblings[0].output == group.output)),
            );
        }
        for siblings in 1..=3 {
            assert!([true, false].iter().all(|same| widths.contains(&(siblings, *same))), "{widths:?}");
        }
    }

    #[test]
    fn secret_layers_are_stored_like_announced_ones_and_can_be_quantized() {
        let announced = Checks::default().cases;
        let mut rng = Secret::draw().unwrap().generator();
        for case in unannounced(&announced, 600, &mut rng) {
            assert!(announced.iter().any(|other| other.quantization == case.quantization));
            assert!(announced.iter().any(|other| other.dtype == case.dtype));
            assert!(
                case.quantization.is_none_or(|q| case.input % q.group_size == 0 && case.output % 32 == 0),
                "{case:?}"
            );
        }
    }

    #[test]
    fn secret_layers_of_a_dora_problem_have_dora_adapters() {
        let dora = |case| CheckCase { adapter: AdapterKind::Dora, ..case };
        let announced: Vec<CheckCase> = Checks::default().cases.into_iter().map(dora).collect();
        let challenges = draw(&announced, 17, &mut Secret::draw().unwrap().generator());
        assert!(challenges.iter().all(|challenge| challenge.case.adapter == AdapterKind::Dora));
    }

    #[test]
    fn layers_of_one_type_and_without_quantization_are_enough_to_draw_from() {
        let mut rng = Secret::draw().unwrap().generator();
        for case in Checks::default().cases {
            let drawn = unannounced(std::slice::from_ref(&case), 40, &mut rng);
            assert_eq!(drawn.len(), 40);
            let like =
                |other: &CheckCase| (other.quantization, other.dtype) == (case.quantization, case.dtype);
            assert!(drawn.iter().all(like), "{drawn:?}");
        }
        assert!(unannounced(&[], 40, &mut rng).is_empty());
    }

    /// What each evaluation must have, whatever is drawn.
    #[test]
    fn every_kind_of_layer_is_among_the_secret_ones_each_time() {
        let announced = Checks::default().cases;
        let count = Checks::default().secret_cases;
        for _ in 0..200 {
            let drawn = draw(&announced, count, &mut Secret::draw().unwrap().generator());
            let secret: Vec<&CheckCase> = drawn
                .iter()
                .map(|challenge| &challenge.case)
                .filter(|case| !announced.contains(case))
                .collect();
            let single: Vec<&&CheckCase> = secret
                .iter()
                .filter(|case| case.dtype == Dtype::Float32 && case.quantization.is_some())
                .collect();
            let any = |what: &dyn Fn(&CheckCase) -> bool| single.iter().any(|case| what(case));
            assert!(any(&|case| case.rank > 48) && any(&|case| (23..=37).contains(&case.rank)), "{secret:?}");
            assert!(any(&|case| case.batch * case.length == 1) && any(&|case| case.batch * case.length == 2));
            assert!(any(&|case| case.length > 160) && any(&|case| case.batch > 8), "{secret:?}");
            assert!(any(&|case| case.input > 1024) && any(&|case| case.output > 1024), "{secret:?}");
            assert!(any(&|case| case.input == case.output), "{secret:?}");
            assert!(any(&|case| case.scale < 0.1) && any(&|case| case.scale > 64.0), "{secret:?}");
            assert!(secret.iter().any(|case| case.quantization.is_none()), "{secret:?}");
            for is_half in [true, false] {
                for bias in [true, false] {
                    let is_it =
                        |case: &&&CheckCase| case.bias == bias && (case.dtype != Dtype::Float32) == is_half;
                    let quantized = secret.iter().filter(|case| case.quantization.is_some());
                    assert!(quantized.filter(is_it).count() > 1, "bias {bias}: {secret:?}");
                }
            }
            for rank in RANKS {
                assert!(drawn.iter().any(|challenge| challenge.case.rank == rank), "rank {rank}: {drawn:?}");
            }
            for case in announced.iter().filter(|case| case.quantization.is_some()) {
                let half = secret
                    .iter()
                    .filter(|other| other.dtype != Dtype::Float32 && other.quantization == case.quantization);
                assert_eq!(half.count(), 1, "{secret:?}");
            }
        }
    }

    #[test]
    fn values_of_every_size_are_among_them_each_time() {
        let announced = Checks::default().cases;
        for _ in 0..100 {
            let drawn = draw(&announced, 18, &mut Secret::draw().unwrap().generator());
            let any = |what: &dyn Fn(&Values) -> bool| drawn.iter().any(|challenge| what(&challenge.values));
            assert!(any(&|values| values.first > 2000.0) && any(&|values| values.first < 0.0005));
            assert!(any(&|values| values.second > 160.0) && any(&|values| values.second < 0.0065));
            assert!(any(&|values| values.cotangent > 100.0) && any(&|values| values.cotangent < 1e-5));
            assert!(any(&|values| values.lora_b < 0.0002) && any(&|values| values.lora_b > 0.999));
            assert!(any(&|values| values.uneven) && any(&|values| !values.uneven));
        }
    }

    #[test]
    fn some_small_layers_are_called_more_often_than_the_others_and_among_more() {
        let announced = Checks::default().cases;
        for _ in 0..100 {
            let drawn = draw(&announced, 18, &mut Secret::draw().unwrap().generator());
            let numbers: [fn(&Challenge) -> u32; 2] = [|one| one.idle_calls, |one| one.companions];
            for number in numbers {
                let mut many: Vec<&Challenge> =
                    drawn.iter().filter(|challenge| number(challenge) > 2).collect();
                many.sort_by_key(|challenge| number(challenge));
                assert!((4..=PATIENT).contains(&many.len()), "{drawn:?}");
                let most = number(many[many.len() - 1]);
                assert!((80..=200).contains(&most), "{drawn:?}");
                assert!(many.iter().all(|challenge| challenge.case.quantization.is_some()), "{many:?}");
                assert!(many.iter().any(|challenge| (6..=15).contains(&number(challenge))), "{many:?}");
            }
        }
    }
}
