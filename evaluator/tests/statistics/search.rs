//! Simulated searches with two metrics, at the defaults: false claims, trials per null candidate, power.

use evaluator::problem::{Metric, Objective, RaceSettings};
use evaluator::protocol::{Race, Sample};
use evaluator::trial::Arm;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::golden::{Given, judge};
use crate::noise::Noise;

/// All models of the battery.
pub(crate) const MODELS: [&str; 13] = [
    "n2", "n5", "t3", "lnout", "step1", "step3", "ramp1", "ramp3", "ar50_2", "ar80_2", "ar95_5", "ar80_5",
    "regime",
];

/// A machine: noise of speed in trial order, of memory and of the loss (shared by trials with one seed, so absent here).
pub(crate) struct Machine {
    speed: Noise,
    memory: Noise,
    memory_deviation: f64,
    coins: Noise,
}

impl Machine {
    pub(crate) fn new(model: &str, memory_deviation: f64, rng: &mut ChaCha8Rng) -> Result<Self, String> {
        let mut noise = |model: &str| Noise::new(model, ChaCha8Rng::from_rng(&mut *rng));
        Ok(Self { speed: noise(model)?, memory: noise("n1")?, memory_deviation, coins: noise("n1")? })
    }
}

pub(crate) fn race(settings: RaceSettings) -> Race {
    let objective = |metric, weight| Objective { metric, weight, minimal_effect: 0.01 };
    let objectives = vec![objective(Metric::TokensPerSecond, 0.6), objective(Metric::PeakMemoryBytes, 0.4)];
    Race::new(settings, objectives, 0.01)
}

/// Whether a candidate with these effects (of ln speed and of −ln memory) is claimed, with which trials, and whether it was
/// screened in.
pub(crate) fn claimed(
    race: &mut Race,
    machine: &mut Machine,
    told: &mut u64,
    effects: (f64, f64),
) -> Result<(bool, u64, bool), String> {
    let Machine { speed, memory, memory_deviation, coins } = machine;
    let mut coin = || coins.coin();
    let mut chance = Given { seeds: *told << 8, coins: &mut coin };
    let run = judge(race, &mut chance, told, |arm| {
        let (faster, leaner) = if arm == Arm::Candidate { effects } else { (0.0, 0.0) };
        Some(Sample {
            tokens_per_second: 1000.0 * (speed.draw() + faster).exp(),
            peak_memory_bytes: 1e8 * (*memory_deviation * memory.normal() - leaner).exp(),
            validation_loss: 5.0,
        })
    })
    .ok_or("a protocol without failures was aborted")?;
    Ok((run.judgement.claim.is_some(), run.trials.0 + run.trials.1, run.confirmed().is_some()))
}

/// Searches with null candidates only.
#[derive(Debug)]
pub(crate) struct Nulls {
    /// Share of searches with any claim.
    pub(crate) any: f64,
    /// Share of candidates claimed.
    pub(crate) each: f64,
    pub(crate) trials: f64,
}

pub(crate) fn nulls(
    model: &str,
    memory_deviation: f64,
    searches: u32,
    candidates: u32,
    seed: u64,
) -> Result<Nulls, String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut any, mut each, mut trials) = (0_u32, 0_u32, 0);
    for _ in 0..searches {
        let mut machine = Machine::new(model, memory_deviation, &mut rng)?;
        let mut race = race(RaceSettings::default());
        let (mut told, mut claims) = (0, 0);
        for _ in 0..candidates {
            let (claim, own, _) = claimed(&mut race, &mut machine, &mut told, (0.0, 0.0))?;
            claims += u32::from(claim);
            trials += own;
        }
        any += u32::from(claims > 0);
        each += claims;
    }
    let all = f64::from(searches * candidates);
    Ok(Nulls {
        any: f64::from(any) / f64::from(searches),
        each: f64::from(each) / all,
        trials: trials as f64 / all,
    })
}

/// How often the first candidate of a run is claimed.
pub(crate) fn power(
    settings: &RaceSettings,
    model: &str,
    memory_deviation: f64,
    effects: (f64, f64),
    repetitions: u32,
    seed: u64,
) -> Result<f64, String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut claims = 0_u32;
    for _ in 0..repetitions {
        let mut machine = Machine::new(model, memory_deviation, &mut rng)?;
        let (claim, _, _) = claimed(&mut race(settings.clone()), &mut machine, &mut 0, effects)?;
        claims += u32::from(claim);
    }
    Ok(f64::from(claims) / f64::from(repetitions))
}

/// A search as in the report's section 2: 70 % null, 15 % −10 %, 7.5 % +5 %, 5 % +10 %, 2.5 % +20 % faster, all against the baseline.
/// (effect, claimed, all) in this order.
pub(crate) fn mixed(
    model: &str,
    memory_deviation: f64,
    searches: u32,
    candidates: u32,
    seed: u64,
) -> Result<Vec<(f64, u32, u32)>, String> {
    let kinds = [(0.7, 0.0), (0.85, -0.1), (0.925, 0.05), (0.975, 0.1), (1.0, 0.2)];
    let mut counts: Vec<(f64, u32, u32)> = kinds.iter().map(|(_, effect)| (*effect, 0, 0)).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let settings = RaceSettings { promote: false, ..RaceSettings::default() };
    for _ in 0..searches {
        let mut machine = Machine::new(model, memory_deviation, &mut rng)?;
        let mut race = race(settings.clone());
        let mut told = 0;
        for _ in 0..candidates {
            let which = machine.coins.uniform();
            let kind = kinds.iter().position(|(up_to, _)| which < *up_to).unwrap_or(0);
            let effect = kinds[kind].1.ln_1p();
            let (claim, _, _) = claimed(&mut race, &mut machine, &mut told, (effect, 0.0))?;
            counts[kind].1 += u32::from(claim);
            counts[kind].2 += 1;
        }
    }
    Ok(counts)
}

/// Prints the figures of the documentation.
#[allow(dead_code, clippy::print_stdout, reason = "the example's, not the tests'")]
pub(crate) fn table() -> Result<(), String> {
    println!("200 null candidates a search, 200 searches; memory without noise / with 2 %");
    println!("{:<8} {:>16} {:>20} {:>16}", "noise", "any claim", "claim per candidate", "trials per null");
    for (index, model) in MODELS.iter().enumerate() {
        let free = nulls(model, 0.0, 200, 200, 100 + index as u64)?;
        let noisy = nulls(model, 0.02, 200, 200, 200 + index as u64)?;
        println!(
            "{model:<8} {:>8.3} {:>7.3} {:>12.5} {:>7.5} {:>8.2} {:>7.2}",
            free.any, noisy.any, free.each, noisy.each, free.trials, noisy.trials
        );
    }
    println!("\nclaimed in mixed searches of 1000 against the baseline, memory without noise; 20 searches");
    println!(
        "{:<8} {:>8} {:>8} {:>8} {:>8} {:>14}",
        "noise", "+5 %", "+10 %", "+20 %", "null", "false share"
    );
    for (index, model) in MODELS.iter().enumerate() {
        let counts = mixed(model, 0.0, 20, 1000, 300 + index as u64)?;
        let rate = |kind: usize| f64::from(counts[kind].1) / f64::from(counts[kind].2);
        let wrong = f64::from(counts[0].1 + counts[1].1);
        let all: u32 = counts.iter().map(|(_, claims, _)| claims).sum();
        println!(
            "{model:<8} {:>8.3} {:>8.3} {:>8.3} {:>8.5} {:>14.5}",
            rate(2),
            rate(3),
            rate(4),
            rate(0),
            wrong / f64::from(all.max(1))
        );
    }
    Ok(())
}

/// Prints the effect, in standard deviations of a trial, that the first candidate of a run is claimed with 80 % power.
#[allow(dead_code, clippy::print_stdout, reason = "the example's, not the tests'")]
pub(crate) fn power_table() -> Result<(), String> {
    let deviation = 0.02;
    for pairs in [9, 10, 11, 12, 14, 16, 20, 24, 32, 48] {
        let settings = RaceSettings { max_pairs: pairs, ..RaceSettings::default() };
        let power = |effect: f64| power(&settings, "n2", 0.0, (effect * deviation, 0.0), 2000, 7);
        let (mut low, mut high) = (0.5, 16.0);
        if power(high)? < 0.8 {
            println!("{pairs:>3} pairs: never");
            continue;
        }
        while high - low > 0.02 {
            let middle = f64::midpoint(low, high);
            *(if power(middle)? < 0.8 { &mut low } else { &mut high }) = middle;
        }
        println!("{pairs:>3} pairs: {:.2} standard deviations", f64::midpoint(low, high));
    }
    Ok(())
}

/// Prints how often candidates of one and the same effect are claimed in a search that promotes nothing: what `bench/known_effects.py`
/// should find on a machine with that noise. Effects are of ln speed and of −ln memory; memory has no noise.
#[allow(dead_code, clippy::print_stdout, reason = "the example's, not the tests'")]
pub(crate) fn detection(model: &str, speed: &str, memory: &str, candidates: &str) -> Result<(), String> {
    let number = |text: &str| text.parse::<f64>().map_err(|error| format!("`{text}`: {error}"));
    let effects = (number(speed)?, number(memory)?);
    let candidates = candidates.parse::<u32>().map_err(|error| format!("`{candidates}`: {error}"))?;
    let settings = RaceSettings { promote: false, ..RaceSettings::default() };
    let mut rng = ChaCha8Rng::seed_from_u64(400);
    let (mut claims, mut trials) = (0_u32, 0);
    let searches = 200;
    for _ in 0..searches {
        let mut machine = Machine::new(model, 0.0, &mut rng)?;
        let mut race = race(settings.clone());
        let mut told = 0;
        for _ in 0..candidates {
            let (claim, own, _) = claimed(&mut race, &mut machine, &mut told, effects)?;
            claims += u32::from(claim);
            trials += own;
        }
    }
    let all = f64::from(searches * candidates);
    println!(
        "{model}, {candidates} candidates, ln speed {speed}, -ln memory {memory}: claimed {:.3}, {:.1} trials each",
        f64::from(claims) / all,
        trials as f64 / all
    );
    Ok(())
}
