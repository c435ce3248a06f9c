//! The fixed protocol on scripted trials.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use evaluator::problem::{FixedSettings, Metric, Objective, Seed7Settings};
use evaluator::protocol::{
    Candidate, Chance, Decision, Fixed, Judgement, Plan, Protocol, Sample, Stage, Step, TrialResult,
};
use evaluator::trial::Arm;

fn objectives() -> Vec<Objective> {
    let objective = |metric, weight| Objective { metric, weight, minimal_effect: 0.01 };
    vec![objective(Metric::TokensPerSecond, 0.6), objective(Metric::PeakMemoryBytes, 0.4)]
}

fn begun(mut protocol: Fixed, is_baseline: bool) -> Fixed {
    protocol.begin(Candidate { program: "hash".to_owned(), is_baseline });
    protocol
}

fn protocol(is_baseline: bool) -> Fixed {
    begun(Fixed::new(FixedSettings::default(), objectives(), 0.01), is_baseline)
}

/// The fixed protocols draw nothing.
struct NoChance;

impl Chance for NoChance {
    fn seed(&mut self) -> u64 {
        panic!("a seed was drawn")
    }

    fn coin(&mut self) -> bool {
        panic!("a coin was thrown")
    }
}

#[expect(clippy::unnecessary_wraps, reason = "told as it is: a trial may fail")]
fn sample(tokens_per_second: f64, peak_memory_bytes: f64, validation_loss: f64) -> Option<Sample> {
    Some(Sample { tokens_per_second, peak_memory_bytes, validation_loss })
}

/// Lets the protocol run on results computed from each plan; the plans it asked for and its decision.
fn run(mut protocol: Fixed, result: impl Fn(&Plan) -> Option<Sample>) -> (Vec<Plan>, Decision) {
    let mut plans = Vec::new();
    loop {
        match protocol.next(&mut NoChance) {
            Step::Run(plan) => {
                assert_eq!(
                    protocol.next(&mut NoChance),
                    Step::Run(plan.clone()),
                    "asking twice gave two answers"
                );
                protocol
                    .tell(u64::from(plan.index), result(&plan).map_or(TrialResult::Failed, TrialResult::Ok));
                plans.push(plan);
            }
            Step::Done(decision) => return (plans, decision),
        }
        assert!(plans.len() < 100, "the protocol doesn't end");
    }
}

fn judged(decision: Decision) -> Judgement {
    match decision {
        Decision::Judged(judgement) => *judgement,
        Decision::Aborted { arm, .. } => panic!("aborted in {arm}"),
    }
}

fn aborted(arm: Arm) -> Decision {
    Decision::Aborted { arm, records: Vec::new() }
}

/// A little noise that differs from trial to trial.
fn jitter(plan: &Plan) -> f64 {
    1.0 + 0.01 * f64::from(plan.index % 5)
}

#[test]
fn five_baseline_trials_then_five_candidate_trials_with_the_documented_seeds() {
    let (plans, _) = run(protocol(false), |plan| sample(100.0 * jitter(plan), 1e6, 5.0));
    let order: Vec<_> = plans.iter().map(|plan| (plan.arm, plan.seed)).collect();
    let expected: Vec<_> =
        (0..5).map(|i| (Arm::Baseline, 42 + i)).chain((0..5).map(|i| (Arm::Candidate, 100 + i))).collect();
    assert_eq!(order, expected);
    assert!(plans.iter().all(|plan| plan.stage == Stage::Fixed));
    assert_eq!(plans[9].references, [0, 1, 2, 3, 4]);
    assert!(plans.iter().enumerate().all(|(index, plan)| plan.index == index as u32 && plan.of == 10));
}

#[test]
fn a_clear_speed_up_is_significant_and_constant_memory_is_not() {
    let (_, decision) = run(protocol(false), |plan| {
        let speed = if plan.arm == Arm::Candidate { 120.0 } else { 100.0 };
        sample(speed * jitter(plan), 1e6, 5.0)
    });
    let Judgement { effects, loss, .. } = judged(decision);
    assert!(effects[0].significant && (effects[0].change - 0.2).abs() < 1e-9);
    assert!(effects[0].interval.unwrap().0 > 0.15 && effects[0].p_value.unwrap() < 1e-4);
    assert_eq!(effects[0].n, (5, 5));
    assert!(!effects[1].significant && effects[1].p_value.is_none());
    assert!(loss.holds);
}

#[test]
fn less_memory_without_noise_is_certain_and_positive() {
    let (_, decision) = run(protocol(false), |plan| {
        let memory = if plan.arm == Arm::Candidate { 8e5 } else { 1e6 };
        sample(100.0 * jitter(plan), memory, 5.0)
    });
    let effects = judged(decision).effects;
    assert!(effects[1].significant && (effects[1].change - 0.2).abs() < 1e-12);
    assert_eq!((effects[1].p_value, effects[1].interval), (None, Some((0.2, 0.2))));
}

#[test]
fn slower_is_negative_with_its_interval_in_order() {
    let (_, decision) = run(protocol(false), |plan| {
        let factor = if plan.arm == Arm::Candidate { 2.0 } else { 1.0 };
        sample(100.0 * jitter(plan) / factor, 1e6 * jitter(plan) * factor, 5.0)
    });
    for effect in judged(decision).effects {
        let (low, high) = effect.interval.unwrap();
        assert!(effect.significant && low < effect.change && effect.change < high && high < 0.0);
    }
}

#[test]
fn the_first_failure_of_an_arm_ends_it_all() {
    let (plans, decision) = run(protocol(false), |_| None);
    assert_eq!((plans.len(), decision), (1, aborted(Arm::Baseline)));
    let (plans, decision) =
        run(protocol(false), |plan| if plan.arm == Arm::Candidate { None } else { sample(100.0, 1e6, 5.0) });
    assert_eq!((plans.len(), decision), (6, aborted(Arm::Candidate)));
}

#[test]
fn a_later_failure_leaves_the_other_trials_alone() {
    let (plans, decision) = run(protocol(false), |plan| {
        let failed = [2, 7, 8].contains(&plan.index);
        if failed { None } else { sample(100.0 * jitter(plan), 1e6, 5.0) }
    });
    assert_eq!(plans.len(), 10);
    assert_eq!(judged(decision).effects[0].n, (4, 3));
}

#[test]
fn one_success_in_an_arm_is_not_enough() {
    let (plans, decision) =
        run(
            protocol(false),
            |plan| {
                if plan.index > 5 { None } else { sample(100.0 * jitter(plan), 1e6, 5.0) }
            },
        );
    assert_eq!((plans.len(), decision), (10, aborted(Arm::Candidate)));
}

#[test]
fn loss_that_drifts_by_more_than_a_hundredth_fails_the_gate() {
    let with_loss = |candidate: f64| {
        let (_, decision) = run(protocol(false), |plan| {
            let loss = if plan.arm == Arm::Candidate { candidate } else { 5.0 };
            sample(100.0 * jitter(plan), 1e6, loss)
        });
        judged(decision).loss.holds
    };
    assert!(with_loss(5.0) && with_loss(5.04) && with_loss(4.96));
    assert!(!with_loss(5.06) && !with_loss(4.94));
}

#[test]
fn the_baseline_itself_is_measured_once_and_changes_nothing_by_definition() {
    let (plans, decision) = run(protocol(true), |plan| sample(100.0 * jitter(plan), 1e6, 5.0));
    assert!(plans.len() == 5 && plans.iter().all(|plan| plan.arm == Arm::Baseline && plan.of == 5));
    let Judgement { effects, loss, .. } = judged(decision);
    for effect in effects {
        assert!(!effect.significant && effect.change.abs() < 1e-12 && effect.method == "definition");
        assert_eq!(effect.n, (5, 0));
    }
    assert!(loss.holds);
}

#[test]
fn seven_trials_and_a_t_of_more_than_1_6_are_the_seed_codes_rule() {
    let seed7 = || begun(Fixed::seed7(Seed7Settings::default(), objectives(), 0.01), false);
    let speeds = [100.0, 102.0, 104.0, 106.0, 108.0, 110.0, 112.0];
    let with_shift = |shift: f64| {
        let (plans, decision) = run(seed7(), |plan| {
            let own = if plan.arm == Arm::Candidate { shift } else { 0.0 };
            // Memory differs without any variance: the seed's code calls that identical.
            sample(speeds[plan.index as usize % 7] + own, 1e6 - own, 5.0)
        });
        assert_eq!((plans.len(), plans[6].seed, plans[13].seed), (14, 48, 106));
        judged(decision).effects
    };
    // t is shift / 2.309.
    let (below, above) = (with_shift(3.6), with_shift(3.8));
    assert!(!below[0].significant && above[0].significant && above[0].p_value.unwrap() > 0.1);
    assert!(!above[1].significant && above[1].change > 0.0);
}

#[test]
fn a_noisy_gain_scores_less_than_a_sure_one() {
    let score = |noise: f64| {
        let (_, decision) = run(protocol(false), |plan| {
            let speed = if plan.arm == Arm::Candidate { 110.0 } else { 100.0 };
            sample(speed * (1.0 + noise * (f64::from(plan.index % 5) - 2.0)), 1e6, 5.0)
        });
        judged(decision).log_score
    };
    let full = 0.6 * 1.1_f64.ln();
    assert!((score(0.0) - full).abs() < 1e-12);
    assert!(score(0.05) < 0.9 * full && score(0.05) > 0.3 * full);
}
