//! `race-confirm` on scripted trials: stages, failures, promotion, the loss, and taking a run up again.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeSet;

use evaluator::problem::{Metric, Objective, RaceSettings};
use evaluator::protocol::{
    Action, Candidate, Chance, Decision, Final, Judgement, PastEvaluation, PastTrial, Plan, Protocol, Race,
    Sample, Stage, Step, TrialResult, replay,
};
use evaluator::trial::Arm;
use proptest::prelude::*;
use search::Verdict;

/// Seeds count up from 1000; coins alternate.
#[derive(Clone)]
struct Counting(u64);

impl Chance for Counting {
    fn seed(&mut self) -> u64 {
        self.0 += 1;
        999 + self.0
    }

    fn coin(&mut self) -> bool {
        self.0 % 2 == 1
    }
}

fn objectives() -> Vec<Objective> {
    let objective = |metric, weight| Objective { metric, weight, minimal_effect: 0.01 };
    vec![objective(Metric::TokensPerSecond, 0.6), objective(Metric::PeakMemoryBytes, 0.4)]
}

fn race() -> Race {
    Race::new(RaceSettings::default(), objectives(), 0.01)
}

/// One machine with its protocol.
struct Bench {
    race: Race,
    chance: Counting,
    told: u64,
    history: Vec<PastEvaluation>,
}

/// 1 % of noise that repeats.
fn noise(told: u64) -> f64 {
    1.0 + 0.01 * ([0.3, -1.0, 0.7, 1.0, -0.6, -0.2, 0.1][told as usize % 7])
}

fn sample(speed: f64, memory: f64, loss: f64) -> TrialResult {
    TrialResult::Ok(Sample {
        tokens_per_second: 1000.0 * speed,
        peak_memory_bytes: 1e8 * memory,
        validation_loss: loss,
    })
}

impl Bench {
    fn new() -> Self {
        Self { race: race(), chance: Counting(0), told: 0, history: Vec::new() }
    }

    fn begin(&mut self, program: &str, is_baseline: bool) {
        let candidate = Candidate { program: program.to_owned(), is_baseline };
        self.race.begin(candidate.clone());
        self.history.push(PastEvaluation { candidate, trials: Vec::new(), decided: false, claimed: false });
    }

    /// One trial; nothing if the protocol has decided.
    fn step(&mut self, result: impl FnOnce(&Plan, u64) -> TrialResult) -> Result<Plan, Decision> {
        match self.race.next(&mut self.chance) {
            Step::Done(decision) => {
                let past = self.history.last_mut().unwrap();
                past.decided = true;
                past.claimed = matches!(&decision, Decision::Judged(judgement) if judgement.claim.is_some());
                Err(decision)
            }
            Step::Run(plan) => {
                assert_eq!(self.race.next(&mut Counting(77)), Step::Run(plan.clone()), "asking twice");
                let result = result(&plan, self.told);
                self.race.tell(self.told, result);
                self.history.last_mut().unwrap().trials.push(PastTrial {
                    id: self.told,
                    stage: plan.stage,
                    arm: plan.arm,
                    seed: plan.seed,
                    reference_first: plan.reference_first,
                    result: Some(result),
                });
                self.told += 1;
                Ok(plan)
            }
        }
    }

    fn evaluate(
        &mut self,
        program: &str,
        mut result: impl FnMut(&Plan, u64) -> TrialResult,
    ) -> (Vec<Plan>, Decision) {
        self.begin(program, false);
        let mut plans = Vec::new();
        loop {
            match self.step(&mut result) {
                Ok(plan) => plans.push(plan),
                Err(decision) => return (plans, decision),
            }
            assert!(plans.len() < 200, "the protocol doesn't end");
        }
    }
}

/// A candidate with this speed and memory, on noise.
fn honest(speed: f64, memory: f64) -> impl Fn(&Plan, u64) -> TrialResult {
    move |plan, told| {
        let (speed, memory) = if plan.arm == Arm::Candidate { (speed, memory) } else { (1.0, 1.0) };
        sample(speed * noise(told), memory, 5.0)
    }
}

fn judged(decision: Decision) -> Judgement {
    match decision {
        Decision::Judged(judgement) => *judgement,
        Decision::Aborted { arm, .. } => panic!("aborted in {arm}"),
    }
}

fn stages(plans: &[Plan]) -> Vec<(Stage, Arm)> {
    plans.iter().map(|plan| (plan.stage, plan.arm)).collect()
}

#[test]
fn the_machine_is_calibrated_once_and_a_slow_candidate_takes_one_trial() {
    let mut bench = Bench::new();
    let (plans, decision) = bench.evaluate("slow", honest(0.8, 1.0));
    let mut expected = vec![(Stage::Calibration, Arm::Reference); 6];
    expected.push((Stage::Screen, Arm::Candidate));
    assert_eq!(stages(&plans), expected);
    assert_eq!(plans[6].seed, plans[5].seed, "the screening has a seed of its own");
    assert_eq!(plans[6].references, [3, 4, 5]);
    let judgement = judged(decision);
    // A screening alone doesn't show that a noisy metric is worse.
    assert_eq!((judgement.verdict, judgement.claim), (Verdict::Inconclusive, None));
    assert!(judgement.log_score < -0.05 && judgement.effects[0].change < -0.15);
    assert!(judgement.loss.holds && judgement.loss.method == "difference-at-one-seed");
    let record = &judgement.records[0];
    assert_eq!((record.look, record.metric, record.action), (1, Some(Metric::TokensPerSecond), Action::Stop));
    assert!(record.mean.unwrap() <= record.lower.unwrap() && record.sigma.unwrap() > 0.002);
    let (plans, _) = bench.evaluate("slow too", honest(0.8, 1.0));
    assert_eq!(stages(&plans), [(Stage::Screen, Arm::Candidate)]);
}

#[test]
fn an_old_reference_is_measured_anew() {
    let mut bench = Bench::new();
    let plans: Vec<Plan> = (0..7).flat_map(|i| bench.evaluate(&format!("{i}"), honest(0.8, 1.0)).0).collect();
    let anew = plans.iter().position(|plan| plan.stage == Stage::Reference).unwrap();
    assert_eq!(anew, 6 + 6, "after six trials of candidates");
    assert_eq!(plans[anew + 1].references, [4, 5, 12]);
}

#[test]
fn a_faster_candidate_is_confirmed_in_pairs_on_one_seed_claimed_and_promoted() {
    let mut bench = Bench::new();
    let (plans, decision) = bench.evaluate("fast", honest(1.2, 1.0));
    let pairs: Vec<&Plan> = plans.iter().filter(|plan| plan.stage == Stage::Confirm).collect();
    let seeds: BTreeSet<u64> = pairs.iter().map(|plan| plan.seed).collect();
    assert_eq!(seeds.len() * 2, pairs.len());
    for (index, pair) in pairs.chunks(2).enumerate() {
        assert_eq!(
            (pair[0].seed, pair[0].pair, pair[0].reference_first),
            (pair[1].seed, pair[1].pair, pair[1].reference_first)
        );
        assert_eq!(pair[0].pair, Some(index as u32));
        let first = if pair[0].reference_first.unwrap() { Arm::Reference } else { Arm::Candidate };
        assert!(pair[0].arm == first && pair[1].arm != first);
    }
    let judgement = judged(decision);
    let claim = judgement.claim.unwrap();
    assert_eq!((judgement.verdict, claim.metrics), (Verdict::Improved, vec![Metric::TokensPerSecond]));
    assert!((1.0 / claim.level - 420.0).abs() < 1e-9 && claim.log_e >= 420.0_f64.ln());
    assert!((judgement.effects[0].change - 0.2).abs() < 0.02 && judgement.effects[0].significant);
    assert!(judgement.effects[1].change.abs() < 1e-12 && !judgement.effects[1].significant);
    assert!((judgement.log_score - 0.6 * 1.2_f64.ln()).abs() < 0.01);
    assert_eq!((bench.race.incumbent(), bench.race.tally()), (Some("fast"), (1, 1)));

    // The next one is compared with the promoted one, and its score counts from there.
    let promoted = |plan: &Plan, told: u64| {
        let speed = if plan.arm == Arm::Candidate { 1.0 } else { 1.2 };
        sample(speed * noise(told), 1.0, 5.0)
    };
    let (plans, decision) = bench.evaluate("the old speed", promoted);
    assert_eq!(stages(&plans), [(Stage::Screen, Arm::Candidate)]);
    let judgement = judged(decision);
    assert!(
        judgement.verdict == Verdict::Inconclusive && judgement.log_score.abs() < 0.03,
        "{}",
        judgement.log_score
    );
}

#[test]
fn less_memory_without_noise_is_claimed_for_memory() {
    let judgement = judged(Bench::new().evaluate("lean", honest(1.0, 0.9)).1);
    assert_eq!(judgement.claim.unwrap().metrics, [Metric::PeakMemoryBytes]);
    assert!((judgement.effects[1].change - 0.1).abs() < 1e-9);
}

#[test]
fn a_gain_is_not_sold_at_a_larger_loss_in_the_other_metric() {
    let mut bench = Bench::new();
    let judgement = judged(bench.evaluate("trade", honest(1.1, 1.4)).1);
    assert!(
        judgement.claim.is_none() && judgement.verdict == Verdict::Regressed && judgement.log_score < 0.0
    );
    assert!(judgement.reason.contains("another one loses"), "{}", judgement.reason);
    assert_eq!((bench.race.incumbent(), bench.race.tally()), (None, (1, 0)));
}

#[test]
fn the_baseline_is_its_calibration_and_scores_one() {
    let mut bench = Bench::new();
    bench.begin("baseline", true);
    let mut plans = Vec::new();
    let judgement = loop {
        match bench.step(honest(1.0, 1.0)) {
            Ok(plan) => plans.push(plan),
            Err(decision) => break judged(decision),
        }
    };
    assert_eq!(stages(&plans), [(Stage::Calibration, Arm::Reference); 6]);
    assert!(judgement.log_score.abs() < 1e-15 && judgement.loss.holds);
    assert_eq!((judgement.effects[0].method.as_str(), judgement.effects[0].n), ("definition", (6, 0)));
    bench.begin("baseline", true);
    assert_eq!(judged(bench.step(honest(1.0, 1.0)).unwrap_err()).effects, judgement.effects);
}

#[test]
fn a_failed_screening_trial_is_run_once_more_on_a_new_seed() {
    let mut bench = Bench::new();
    bench.evaluate("first", honest(0.8, 1.0));
    let (plans, decision) = bench.evaluate("fails twice", |_, _| TrialResult::Failed);
    assert_eq!(plans.len(), 2);
    assert_ne!(plans[0].seed, plans[1].seed);
    let Decision::Aborted { arm, records } = decision else { panic!("judged") };
    assert_eq!((arm, records.len(), records[1].action), (Arm::Candidate, 2, Action::Abort));
    let mut failed = false;
    let (plans, decision) = bench.evaluate("fails once", |plan, told| {
        if std::mem::replace(&mut failed, true) { honest(0.8, 1.0)(plan, told) } else { TrialResult::Failed }
    });
    assert_eq!((plans.len(), judged(decision).verdict), (2, Verdict::Inconclusive));
}

#[test]
fn numbers_that_are_not_finite_count_as_failed() {
    let mut bench = Bench::new();
    bench.evaluate("first", honest(0.8, 1.0));
    let (plans, decision) = bench.evaluate("nan", |_, _| sample(1.0, 1.0, f64::NAN));
    assert!(plans.len() == 2 && matches!(decision, Decision::Aborted { arm: Arm::Candidate, .. }));
}

#[test]
fn more_than_twice_the_references_time_is_given_up_after_two_trials() {
    let mut bench = Bench::new();
    bench.evaluate("first", honest(0.8, 1.0));
    let (plans, decision) = bench.evaluate("crawls", honest(0.4, 0.5));
    let judgement = judged(decision);
    assert_eq!((plans.len(), judgement.verdict), (2, Verdict::Inconclusive));
    assert!(judgement.reason.contains("more than 2 times as long") && judgement.effects[0].change < -0.5);
}

#[test]
fn a_pair_lost_by_a_crash_counts_against_the_candidate_and_the_second_ends_it() {
    let crash_in = |crashes: &'static [u32]| {
        move |plan: &Plan, told: u64| {
            let crash = plan.arm == Arm::Candidate && plan.pair.is_some_and(|pair| crashes.contains(&pair));
            if crash { TrialResult::Failed } else { honest(1.2, 1.0)(plan, told) }
        }
    };
    let whole = judged(Bench::new().evaluate("fast", crash_in(&[])).1);
    let (plans, decision) = Bench::new().evaluate("crashes once", crash_in(&[2]));
    let once = judged(decision);
    assert!(once.claim.is_some());
    let last = |judgement: &Judgement| judgement.records.last().unwrap().look;
    // ln 0.152 is won back in about three pairs.
    assert!((3..=5).contains(&(last(&once) - last(&whole))), "{} and {}", last(&once), last(&whole));
    assert!(plans.iter().any(|plan| plan.pair == Some(last(&once) - 1)));
    let (_, decision) = Bench::new().evaluate("crashes twice", crash_in(&[1, 3]));
    let Decision::Aborted { arm, records } = decision else { panic!("judged") };
    assert_eq!(
        (arm, records.last().unwrap().action, records.last().unwrap().look),
        (Arm::Candidate, Action::Abort, 4)
    );
}

#[test]
fn a_pair_whose_reference_fails_is_run_again_twice_at_most() {
    let mut failures = 0;
    let (plans, decision) = Bench::new().evaluate("fast", |plan, told| {
        if plan.pair == Some(1) && plan.arm == Arm::Reference && failures < 2 {
            failures += 1;
            return TrialResult::Failed;
        }
        honest(1.2, 1.0)(plan, told)
    });
    assert!(judged(decision).claim.is_some());
    let seeds: BTreeSet<u64> =
        plans.iter().filter(|plan| plan.pair == Some(1)).map(|plan| plan.seed).collect();
    assert_eq!(seeds.len(), 3, "each repetition has a new seed");
    let (_, decision) = Bench::new().evaluate("fast", |plan, told| {
        let fails = plan.pair == Some(1) && plan.arm == Arm::Reference;
        if fails { TrialResult::Failed } else { honest(1.2, 1.0)(plan, told) }
    });
    assert!(matches!(decision, Decision::Aborted { arm: Arm::Reference, .. }));
}

#[test]
fn a_reference_that_never_runs_ends_the_evaluation_after_three_trials() {
    let (plans, decision) = Bench::new().evaluate("any", |_, _| TrialResult::Failed);
    assert!(plans.len() == 3 && matches!(decision, Decision::Aborted { arm: Arm::Reference, .. }));
}

#[test]
fn a_loss_far_from_the_references_at_the_same_seed_rejects_in_the_screening() {
    let (plans, decision) = Bench::new().evaluate("drifts", |plan, told| {
        let loss = if plan.arm == Arm::Candidate { 5.3 } else { 5.0 };
        sample(1.5 * noise(told), 1.0, loss)
    });
    let judgement = judged(decision);
    assert_eq!((plans.len(), judgement.loss.holds), (7, false));
    assert_eq!(judgement.records[0].action, Action::LossDrift);
}

#[test]
fn a_claim_needs_a_loss_shown_to_be_equal() {
    let with_loss = |loss: f64, spread: f64| {
        let mut bench = Bench::new();
        let (plans, decision) = bench.evaluate("fast", |plan, told| {
            let own = if plan.arm == Arm::Candidate { loss + spread * (noise(told) - 1.0) } else { 5.0 };
            let speed = if plan.arm == Arm::Candidate { 1.2 } else { 1.0 };
            sample(speed * noise(told), 1.0, own)
        });
        (plans.last().unwrap().pair.unwrap() + 1, judged(decision), bench.race.tally())
    };
    let (pairs, judgement, tally) = with_loss(5.0, 0.0);
    assert!(judgement.claim.is_some() && tally == (1, 1) && pairs < 14);
    // 3 % away: too near for the screening, too far for a claim, in all pairs.
    let (pairs, judgement, tally) = with_loss(5.15, 0.0);
    assert!(!judgement.loss.holds && judgement.claim.is_none() && tally == (1, 0) && pairs == 24);
    // Equal on average, but with noise that needs more pairs than the evidence does.
    let (more, judgement, _) = with_loss(5.0, 8.0);
    assert!(judgement.claim.is_some() && more > 10, "{more}: {:?}", judgement.loss);
}

#[test]
fn a_confirmation_that_was_started_stays_counted_when_it_is_abandoned() {
    let mut bench = Bench::new();
    bench.begin("cancelled", false);
    while bench.step(honest(1.2, 1.0)).unwrap().stage != Stage::Confirm {}
    bench.race.abandon();
    assert_eq!(bench.race.tally(), (1, 0));
    let judgement = judged(bench.evaluate("fast", honest(1.2, 1.0)).1);
    let level = judgement.claim.unwrap().level;
    assert!((1.0 / level - 21.0 * 22.0 / 20.0 * 20.0).abs() < 1e-9, "{}", 1.0 / level);
}

#[test]
fn nothing_is_decided_about_nobody() {
    assert!(matches!(
        race().next(&mut Counting(0)),
        Step::Done(Decision::Aborted { arm: Arm::Candidate, .. })
    ));
}

#[test]
fn other_settings_do_not_fit_the_stored_trials() {
    let mut bench = Bench::new();
    bench.evaluate("slow", honest(0.8, 1.0));
    bench.evaluate("fast", honest(1.2, 1.0));
    let with = |settings: RaceSettings| {
        replay(&mut Race::new(settings, objectives(), 0.01), &bench.history)
            .map_err(|error| error.to_string())
    };
    assert_eq!(with(RaceSettings::default()), Ok(()));
    for settings in [
        RaceSettings { calibration: 5, ..RaceSettings::default() },
        RaceSettings { alpha: 0.5, ..RaceSettings::default() },
        RaceSettings { max_pairs: 7, ..RaceSettings::default() },
    ] {
        let error = with(settings).unwrap_err();
        assert!(error.contains("don't fit the protocol race-confirm"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened, and wherever the run was cut: the stored trials give the same knowledge and the same next trial.
    #[test]
    fn a_run_is_taken_up_again_after_any_trial(
        effects in proptest::collection::vec((0.7_f64..1.4, 0.8_f64..1.2), 1..6),
        fates in proptest::collection::vec(0_u32..40, 300),
        cut in 0_u64..200,
    ) {
        let mut bench = Bench::new();
        'run: for (index, (speed, memory)) in effects.iter().enumerate() {
            bench.begin(&index.to_string(), index == 0);
            loop {
                if bench.told >= cut {
                    break 'run;
                }
                let result = |plan: &Plan, told: u64| match fates[told as usize] {
                    0 => TrialResult::Failed,
                    1 => sample(0.3, 1.0, 5.0),
                    _ => honest(*speed, *memory)(plan, told),
                };
                match bench.step(result) {
                    Err(_) => break,
                    // Somebody cancels it.
                    Ok(_) if fates[bench.told as usize] == 2 => break,
                    Ok(_) => {}
                }
            }
        }
        let mut again = race();
        replay(&mut again, &bench.history).map_err(|error| TestCaseError::fail(error.to_string()))?;
        bench.race.begin(Candidate { program: "next".to_owned(), is_baseline: false });
        again.begin(Candidate { program: "next".to_owned(), is_baseline: false });
        prop_assert!(again.knows_the_same(&bench.race), "{again:?}\n{:?}", bench.race);
        let mut chance = bench.chance.clone();
        prop_assert_eq!(again.next(&mut chance), bench.race.next(&mut bench.chance));
    }
}

#[test]
fn the_final_comparison_is_twelve_fresh_pairs_with_an_exact_interval() {
    let mut last = Final::new(Arm::MlxLm, Final::PAIRS, objectives(), 0.01);
    last.begin(Candidate { program: "champion".to_owned(), is_baseline: false });
    let (mut chance, mut told, mut plans) = (Counting(0), 0, Vec::new());
    let judgement = loop {
        match last.next(&mut chance) {
            Step::Done(decision) => break judged(decision),
            Step::Run(plan) => {
                assert_eq!(last.next(&mut chance), Step::Run(plan.clone()));
                // One failure: its pair is run again.
                let result = if told == 5 { TrialResult::Failed } else { honest(1.1, 0.9)(&plan, told) };
                last.tell(told, result);
                plans.push(plan);
                told += 1;
            }
        }
    };
    assert!((25..=26).contains(&plans.len()));
    let arms: BTreeSet<&str> = plans.iter().map(|plan| plan.arm.as_str()).collect();
    assert_eq!(arms, BTreeSet::from(["candidate", "mlx_lm"]));
    assert_eq!(plans.iter().filter(|plan| plan.pair == Some(11)).count(), 2);
    let (low, high) = judgement.effects[0].interval.unwrap();
    let gain = judgement.effects[0].change;
    assert!(low < gain && gain < high && low > 0.05 && (gain - 0.1).abs() < 0.02, "{low} {gain} {high}");
    assert!((judgement.effects[1].change - 0.1).abs() < 1e-9 && judgement.effects[1].significant);
    assert!(judgement.verdict == Verdict::Improved && judgement.loss.holds && judgement.loss.n == 12);
}

#[test]
fn a_little_slower_in_a_screening_alone_is_not_called_worse() {
    let mut bench = Bench::new();
    let judgement = judged(bench.evaluate("a little slower", honest(0.93, 1.0)).1);
    assert_eq!((judgement.verdict, judgement.claim), (Verdict::Inconclusive, None), "{}", judgement.reason);
    // Memory has no drift: there a little is enough.
    let judgement = judged(bench.evaluate("a little larger", honest(0.93, 1.03)).1);
    assert_eq!(judgement.verdict, Verdict::Regressed, "{}", judgement.reason);
}
