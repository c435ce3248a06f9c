//! Golden streams: every decision of `race-confirm` with one metric on given noise.

use evaluator::problem::{Metric, Objective, RaceSettings};
use evaluator::protocol::{
    Candidate, Chance, Decision, DecisionRecord, Judgement, Protocol, Race, Sample, Stage, Step, TrialResult,
};
use evaluator::trial::Arm;
use serde_json::Value;

use crate::group::Group;

/// Seeds count up; coins are given.
pub(crate) struct Given<'a> {
    pub(crate) seeds: u64,
    pub(crate) coins: &'a mut dyn FnMut() -> bool,
}

impl Chance for Given<'_> {
    fn seed(&mut self) -> u64 {
        self.seeds += 1;
        self.seeds
    }

    fn coin(&mut self) -> bool {
        (self.coins)()
    }
}

/// The parameters of the specification, by its own names; what is absent has our default.
pub(crate) fn settings(params: &Value) -> (RaceSettings, f64) {
    let number = |key: &str, default: f64| params[key].as_f64().unwrap_or(default);
    let count = |key: &str, default: u32| params[key].as_u64().map_or(default, |count| count as u32);
    let d = RaceSettings::default();
    let settings = RaceSettings {
        calibration: count("calib", d.calibration),
        reference_age: count("ref_age", d.reference_age),
        reference_pool: count("ref_pool", d.reference_pool),
        screen_trials: count("looks", d.screen_trials),
        screen_effect: number("kappa_s", d.screen_effect),
        screen_miss: number("beta_s", d.screen_miss),
        screen_pass: number("alpha_s", d.screen_pass),
        confirm_effect: number("kappa_c", d.confirm_effect),
        confirm_miss: number("beta_c", d.confirm_miss),
        bet: number("bet", d.bet),
        min_pairs: count("n_min", d.min_pairs),
        max_pairs: count("n_max", d.max_pairs),
        alpha: number("alpha", 0.025),
        patience: count("K", d.patience),
        noise_floor: number("sd_floor", d.noise_floor),
        prior: number("tau", d.prior),
        // The specification knows neither.
        slow: f64::INFINITY,
        promote: false,
        ..d
    };
    (settings, number("d_min", 0.01))
}

/// One metric, whose values are logarithms.
pub(crate) fn race(settings: RaceSettings, minimal_effect: f64) -> Race {
    let objective = Objective { metric: Metric::TokensPerSecond, weight: 1.0, minimal_effect };
    Race::new(settings, vec![objective], 0.01)
}

/// What came of one candidate.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) judgement: Box<Judgement>,
    /// Trials of the candidate and of the reference, calibration excluded.
    pub(crate) trials: (u64, u64),
}

impl Run {
    /// The last look at the pairs, if there were any.
    pub(crate) fn confirmed(&self) -> Option<&DecisionRecord> {
        self.judgement.records.iter().rev().find(|record| record.stage == Stage::Confirm)
    }
}

/// Lets the protocol judge one candidate. `measure` gives the sample of each trial, or nothing if there are no more.
pub(crate) fn judge(
    protocol: &mut dyn Protocol,
    chance: &mut dyn Chance,
    told: &mut u64,
    mut measure: impl FnMut(Arm) -> Option<Sample>,
) -> Option<Run> {
    protocol.begin(Candidate { program: String::new(), is_baseline: false });
    let mut trials = (0, 0);
    loop {
        match protocol.next(chance) {
            Step::Done(Decision::Judged(judgement)) => return Some(Run { judgement, trials }),
            Step::Done(Decision::Aborted { .. }) => return None,
            Step::Run(plan) => {
                match (plan.arm, plan.stage) {
                    (Arm::Candidate, _) => trials.0 += 1,
                    (_, Stage::Calibration) => {}
                    _ => trials.1 += 1,
                }
                *told += 1;
                protocol.tell(*told, TrialResult::Ok(measure(plan.arm)?));
            }
        }
    }
}

/// A sample whose speed has this logarithm.
pub(crate) fn sample(log: f64) -> Sample {
    Sample { tokens_per_second: log.exp(), peak_memory_bytes: 1e6, validation_loss: 5.0 }
}

/// Plays all cases of a `golden.json`.
pub(crate) fn check(golden: &Value) -> Result<Vec<Group>, String> {
    let mut decisions = Group::new("golden: decisions");
    let mut numbers = Group::new("golden: levels, evidence, scores, effects");
    for (number, case) in list(golden, "cases")?.iter().enumerate() {
        let name = format!("case {number} ({})", case["noise"].as_str().unwrap_or("?"));
        check_case(&name, case, &golden["params"], &mut decisions, &mut numbers)?;
    }
    Ok(vec![decisions, numbers])
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    value[key].as_array().ok_or_else(|| format!("`{key}` is not a list"))
}

fn check_case(
    name: &str,
    case: &Value,
    params: &Value,
    decisions: &mut Group,
    numbers: &mut Group,
) -> Result<(), String> {
    let floats = |key| -> Result<Vec<f64>, String> {
        list(case, key)?
            .iter()
            .map(|v| v.as_f64().ok_or_else(|| format!("{name}: `{key}` holds {v}")))
            .collect()
    };
    let (stream, effects) = (floats("stream")?, floats("effects")?);
    let bits = list(case, "order_bits")?;
    let results = list(case, "results")?;
    let (settings, minimal_effect) = settings(params);
    let mut race = race(settings, minimal_effect);
    let mut bits =
        bits.iter().map(|bit| bit.as_bool().unwrap_or_else(|| bit.as_f64().is_some_and(|bit| bit > 0.5)));
    let mut coins = || bits.next().unwrap_or_default();
    let mut chance = Given { seeds: 0, coins: &mut coins };
    let mut stream = stream.into_iter();
    let mut told = 0;
    for (index, (effect, expected)) in effects.iter().zip(results).enumerate() {
        let case = format!("{name}, candidate {index}");
        let run = judge(&mut race, &mut chance, &mut told, |arm| {
            let effect = if arm == Arm::Candidate { *effect } else { 0.0 };
            stream.next().map(|log| sample(log + effect))
        });
        let Some(run) = run else {
            decisions.failures.push(format!("{case}: the stream ended before the decision"));
            return Ok(());
        };
        compare(&case, expected, &run, decisions, numbers);
    }
    Ok(())
}

fn compare(case: &str, expected: &Value, run: &Run, decisions: &mut Group, numbers: &mut Group) {
    let confirmed = run.confirmed();
    let found = serde_json::json!({
        "claim": run.judgement.claim.is_some(),
        "cand": run.trials.0,
        "ref": run.trials.1,
        "confirm": confirmed.is_some(),
        "pairs": confirmed.map_or(0, |record| record.look),
    });
    for (key, got) in found.as_object().into_iter().flatten() {
        if let Some(expected) = expected.get(key) {
            decisions.same(&format!("{case}: {key}"), expected, got);
        }
    }
    let effect = run.judgement.effects[0].change.ln_1p();
    for (key, got) in [
        ("level", confirmed.and_then(|record| record.level)),
        ("logE", Some(confirmed.and_then(|record| record.log_e).unwrap_or_default())),
        ("score", Some(run.judgement.log_score)),
        ("effect", Some(effect)),
    ] {
        if let Some(expected) = expected.get(key).and_then(Value::as_f64) {
            numbers.close(&format!("{case}: {key}"), expected, got, 1e-9);
        }
    }
}
