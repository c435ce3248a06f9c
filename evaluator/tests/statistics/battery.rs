//! The calibration battery: how often the protocols say what, on simulated noise.

use evaluator::problem::{FixedSettings, Metric, Objective, RaceSettings, Seed7Settings};
use evaluator::protocol::{Fixed, Race};
use evaluator::statistics::{equivalence_paired, flip_log_factor, signed_rank_interval};
use evaluator::trial::Arm;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::golden::{self, Given, judge, sample};
use crate::group::Group;
use crate::noise::Noise;

/// All cells and races of a `battery.json`, with this multiple of their repetitions. A range's half width is what it allows for
/// chance, so for a share it grows as chance does: with 1/√share. With more repetitions than asked for, ranges stay as they are.
pub(crate) fn check(battery: &Value, share: f64) -> Result<Vec<Group>, String> {
    let seed = battery["rng_seed_of_these_numbers"].as_u64().unwrap_or(424_242);
    let mut groups: Vec<Group> = Vec::new();
    for (index, cell) in battery["cells"].as_array().ok_or("`cells` is not a list")?.iter().enumerate() {
        let mode = text(cell, "mode")?;
        let id = text(cell, "id")?;
        let repetitions = (cell["n_reps"].as_f64().unwrap_or(20_000.0) * share).ceil() as u64;
        let rate = cell_rate(cell, mode, repetitions, seed.wrapping_add(index as u64))?;
        let name = format!("battery: {mode}");
        let range = widened(cell, share).ok_or_else(|| format!("{id}: no range"))?;
        let known = groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
            groups.push(Group::new(&name));
            groups.len() - 1
        });
        groups[known].between(id, range, rate);
    }
    let mut races = Group::new("battery: race-confirm");
    for (index, race) in battery["race"].as_array().into_iter().flatten().enumerate() {
        check_race(race, share, seed.wrapping_add(1_000_000 + index as u64), &mut races)?;
    }
    groups.push(races);
    Ok(groups)
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value[key].as_str().ok_or_else(|| format!("`{key}` is missing in {value}"))
}

fn range(value: &Value) -> Option<(f64, f64)> {
    Some((value["accept"][0].as_f64()?, value["accept"][1].as_f64()?))
}

/// The range around its expected value, for a share of the repetitions.
fn widened(value: &Value, share: f64) -> Option<(f64, f64)> {
    let (low, high) = range(value)?;
    let expected = value["expected"].as_f64().unwrap_or(f64::midpoint(low, high));
    // A rate near 0 or 1 moves in steps of one repetition, and its range is cut off there.
    let step = if share < 1.0 { 3.0 / (20_000.0 * share) } else { 0.0 };
    let factor = 1.0 / share.min(1.0).sqrt();
    Some((expected - (expected - low) * factor - step, expected + (high - expected) * factor + step))
}

fn cell_rate(cell: &Value, mode: &str, repetitions: u64, seed: u64) -> Result<f64, String> {
    let noise = text(cell, "noise")?;
    let raw = cell["effect"].as_f64().unwrap_or_default();
    let effect = raw.ln_1p();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut hits = 0_u64;
    for _ in 0..repetitions {
        let own = ChaCha8Rng::from_rng(&mut rng);
        let hit = match mode {
            "fixed5" => is_faster(&mut fixed5(), noise, effect, own)?,
            "seed7" => is_faster(&mut seed7(), noise, effect, own)?,
            _ if mode.starts_with("flip-e") => reaches_twenty(Noise::new(noise, own)?, effect),
            _ if mode.starts_with("Hodges") => covers(Noise::new(noise, own)?, effect),
            _ if mode.starts_with("paired log TOST") => {
                let n = mode.rsplit('=').next().and_then(|n| n.parse().ok()).ok_or("a TOST without n")?;
                let deviation: f64 =
                    noise.rsplit(' ').next().and_then(|sd| sd.parse().ok()).ok_or("a TOST without sd")?;
                is_equivalent(Noise::new("n1", own)?, n, deviation, raw)
            }
            other => return Err(format!("unknown mode `{other}`")),
        };
        hits += u64::from(hit);
    }
    Ok(hits as f64 / repetitions as f64)
}

fn speed() -> Vec<Objective> {
    vec![Objective { metric: Metric::TokensPerSecond, weight: 1.0, minimal_effect: 0.01 }]
}

fn fixed5() -> Fixed {
    Fixed::new(FixedSettings::default(), speed(), 0.01)
}

fn seed7() -> Fixed {
    Fixed::seed7(Seed7Settings::default(), speed(), 0.01)
}

fn is_faster(protocol: &mut Fixed, noise: &str, effect: f64, rng: ChaCha8Rng) -> Result<bool, String> {
    let (name, block) = match noise.strip_prefix("block") {
        Some(percent) => ("n2", percent.parse::<f64>().map_err(|error| error.to_string())? / 100.0),
        None => (noise, 0.0),
    };
    let mut noise = Noise::new(name, rng)?;
    let mut coins = || false;
    let mut chance = Given { seeds: 0, coins: &mut coins };
    let run = judge(protocol, &mut chance, &mut 0, |arm| {
        let shift = if arm == Arm::Candidate { effect + block } else { 0.0 };
        Some(sample(noise.draw() + shift))
    })
    .ok_or("a protocol without failures was aborted")?;
    let effect = &run.judgement.effects[0];
    Ok(effect.significant && effect.change > 0.0)
}

/// A pair's difference, in the order of a coin.
fn pair(noise: &mut Noise, effect: f64) -> f64 {
    let reference_first = noise.coin();
    let (first, second) = (noise.draw(), noise.draw());
    effect + if reference_first { second - first } else { first - second }
}

fn reaches_twenty(mut noise: Noise, effect: f64) -> bool {
    let mut differences = Vec::new();
    let mut log_e = 0.0;
    (0..16).any(|_| {
        differences.push(pair(&mut noise, effect));
        log_e += flip_log_factor(&differences, 2.5);
        log_e >= 20.0_f64.ln()
    })
}

fn covers(mut noise: Noise, effect: f64) -> bool {
    let differences: Vec<f64> = (0..12).map(|_| pair(&mut noise, effect)).collect();
    signed_rank_interval(&differences, 0.95).is_some_and(|(low, high)| low <= effect && effect <= high)
}

fn is_equivalent(mut noise: Noise, n: u32, deviation: f64, effect: f64) -> bool {
    let differences: Vec<f64> = (0..n).map(|_| effect + deviation * noise.normal()).collect();
    equivalence_paired(&differences, 0.01, 0.05)
        .is_some_and(|tests| tests.p_lower < 0.05 && tests.p_upper < 0.05)
}

/// The specification's parameters: one metric, α = 0.025.
fn specified() -> RaceSettings {
    golden::settings(&Value::Null).0
}

fn check_race(race: &Value, share: f64, seed: u64, group: &mut Group) -> Result<(), String> {
    let noise = text(race, "noise")?;
    let searches = (race["n_searches"].as_f64().unwrap_or(200.0) * share).ceil() as u64;
    let candidates = race["candidates"].as_u64().unwrap_or(200);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut trials, mut passed, mut claimed) = (0, 0, 0_u64);
    for _ in 0..searches {
        let mut race = golden::race(specified(), 0.01);
        let mut noise = Noise::new(noise, ChaCha8Rng::from_rng(&mut rng))?;
        let mut coins = Noise::new("n1", ChaCha8Rng::from_rng(&mut rng))?;
        let mut coin = || coins.coin();
        let mut chance = Given { seeds: 0, coins: &mut coin };
        let (mut told, mut any) = (0, false);
        for _ in 0..candidates {
            let run = judge(&mut race, &mut chance, &mut told, |_| Some(sample(noise.draw())))
                .ok_or("a protocol without failures was aborted")?;
            trials += run.trials.0 + run.trials.1;
            passed += u64::from(run.confirmed().is_some());
            any |= run.judgement.claim.is_some();
        }
        claimed += u64::from(any);
    }
    let all = (searches * candidates) as f64;
    let trials = trials as f64 / all;
    for (key, got) in [("mean_trials_per_null", trials), ("screen_pass_rate", passed as f64 / all)] {
        if let Some(range) = widened(&race[key], share) {
            group.between(&format!("race/{noise}/{key}"), range, got);
        }
    }
    if let Some(limit) = race["mean_trials_per_null"]["hard_limit"].as_f64() {
        group.between(&format!("race/{noise}/mean_trials_per_null/hard_limit"), (0.0, limit), trials);
    }
    if let Some(limit) = race["any_claim_in_200"]["max"].as_f64() {
        // Few searches tell little: one more claim than the limit is chance.
        let limit = if share < 1.0 { limit + 1.0 / searches as f64 } else { limit };
        group.between(
            &format!("race/{noise}/any_claim_in_200"),
            (0.0, limit),
            claimed as f64 / searches as f64,
        );
    }
    for (effect, expected) in race["power_at_E40"].as_object().into_iter().flatten() {
        let size: f64 = effect.parse().map_err(|_| format!("`{effect}` is no effect"))?;
        let power = power_at_forty(noise, size.ln_1p(), (2400.0 * share).ceil() as u64, &mut rng)?;
        let range = widened(expected, share).ok_or_else(|| format!("race/{noise}: no range"))?;
        group.between(&format!("race/{noise}/power_at_E40/{effect}"), range, power);
    }
    Ok(())
}

/// Null candidates before each one with an effect. They decide how old the reference's trials are, and so the power under drift.
const NULLS: u64 = 4;
/// Candidates of one search that have the effect.
const PER_SEARCH: u64 = 25;

/// How often a candidate with this effect is claimed at E ≥ 40, every fifth one of a search being such.
fn power_at_forty(noise: &str, effect: f64, repetitions: u64, rng: &mut ChaCha8Rng) -> Result<f64, String> {
    let searches = repetitions.div_ceil(PER_SEARCH);
    let mut claims = 0_u64;
    for _ in 0..searches {
        let mut race = golden::race(at_forty(), 0.01);
        let mut noise = Noise::new(noise, ChaCha8Rng::from_rng(&mut *rng))?;
        let mut coins = Noise::new("n1", ChaCha8Rng::from_rng(&mut *rng))?;
        let mut told = 0;
        for _ in 0..PER_SEARCH {
            for _ in 0..NULLS {
                claim(&mut race, &mut noise, &mut coins, &mut told, 0.0)?;
            }
            claims += u64::from(claim(&mut race, &mut noise, &mut coins, &mut told, effect)?);
        }
    }
    Ok(claims as f64 / (searches * PER_SEARCH) as f64)
}

fn claim(
    race: &mut Race,
    noise: &mut Noise,
    coins: &mut Noise,
    told: &mut u64,
    effect: f64,
) -> Result<bool, String> {
    race.restart_tally();
    let mut coin = || coins.coin();
    let mut chance = Given { seeds: 0, coins: &mut coin };
    let run = judge(race, &mut chance, told, |arm| {
        Some(sample(noise.draw() + if arm == Arm::Candidate { effect } else { 0.0 }))
    })
    .ok_or("a protocol without failures was aborted")?;
    Ok(run.judgement.claim.is_some())
}

/// So that the first confirmation's level, α/(K + 1), is 1/40.
fn at_forty() -> RaceSettings {
    let settings = specified();
    RaceSettings { alpha: f64::from(settings.patience + 1) / 40.0, ..settings }
}
