//! `race-confirm` from end to end, with stand-ins for MLX: what a run's protocol remembers from one candidate to the next, and
//! from one process to the next.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use evaluator::history::History;
use evaluator::protocol::{Action, Decision, Judgement};
use evaluator::trial::Arm;
use evaluator::{EvaluationReport, Evaluator, Job, Opponent, Purpose, TrialRecord};
use search::Verdict;
use support::stand_ins::{FIXED, job, program, resume};
#[cfg(target_os = "linux")]
use support::{evaluator_processes, kill_9};

const FASTER: &str = "// seconds: 0.03\n// memory: 500";
const FASTER_STILL: &str = "// seconds: 0.015\n// memory: 250";
const THE_SAME: &str = "// seconds: 0.06";

fn named(id: u64, orders: &str) -> Job {
    Job { id, kernel: format!("hash {id}"), ..job(orders) }
}

async fn evaluator(folder: &Path, history: History) -> Evaluator {
    let problem = FIXED.replace("protocol: fixed", "protocol: race-confirm");
    resume(folder, &problem, &program("// seconds: 0.06\n// the baseline"), history).await.unwrap()
}

fn judgement(report: &EvaluationReport) -> &Judgement {
    match &report.decision {
        Some(Decision::Judged(judgement)) => judgement,
        other => panic!("{other:?}: {}", report.outcome),
    }
}

fn stages<'report>(report: &'report EvaluationReport, stage: &str) -> Vec<&'report TrialRecord> {
    report.trials.iter().filter(|trial| trial.stage == stage).collect()
}

#[tokio::test]
async fn a_better_kernel_is_claimed_after_pairs_in_random_order_and_becomes_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = evaluator(folder.path(), History::default()).await;
    let report = evaluator.evaluate(named(1, FASTER)).await.unwrap();
    let measured = report.outcome.measured().unwrap_or_else(|| panic!("{}", report.outcome));
    assert_eq!(measured.verdict, Verdict::Improved, "{}", measured.reason);
    assert!((1.2..2.2).contains(&measured.score.get()), "{}", measured.score);
    assert_eq!(stages(&report, "calibration").len(), 6);
    let pairs = stages(&report, "confirm");
    assert!(pairs.len() >= 12 && pairs.len().is_multiple_of(2), "{} trials in pairs", pairs.len());
    for pair in pairs.chunks(2) {
        let [first, second] = pair else { panic!("half a pair") };
        assert_eq!((first.pair, first.seed), (second.pair, second.seed), "a pair shares its seed");
        let reference_first = first.arm == Arm::Reference;
        assert_eq!(
            (first.reference_first, second.reference_first),
            (Some(reference_first), Some(reference_first))
        );
        assert_ne!(first.arm, second.arm);
    }
    let claim = judgement(&report).claim.as_ref().unwrap();
    assert!(claim.log_e >= -claim.level.ln(), "{claim:?}");
    assert_eq!(judgement(&report).records.last().unwrap().action, Action::Claim);
    assert_eq!(report.measured_by.protocol, "race-confirm");

    // The next one is compared with it, and has its score as a base.
    let report = evaluator.evaluate(named(2, FASTER_STILL)).await.unwrap();
    assert!(stages(&report, "calibration").is_empty());
    let pairs = stages(&report, "confirm");
    assert!(!pairs.is_empty());
    for trial in &pairs {
        let kernel = if trial.arm == Arm::Reference { "hash 1" } else { "hash 2" };
        assert_eq!(trial.kernel.as_deref(), Some(kernel));
    }
    let better = report.outcome.measured().unwrap();
    assert!(better.score > measured.score, "{} after {}", better.score, measured.score);
}

#[tokio::test]
async fn the_same_kernel_is_let_go_after_few_trials() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = evaluator(folder.path(), History::default()).await;
    // A false confirmation is possible, a false claim hardly is.
    for id in 1..=4 {
        let report = evaluator.evaluate(named(id, THE_SAME)).await.unwrap();
        let measured = report.outcome.measured().unwrap();
        assert_ne!(measured.verdict, Verdict::Improved, "{}", measured.reason);
        assert!((0.9..1.1).contains(&measured.score.get()), "{}", measured.score);
        assert!((1..=3).contains(&stages(&report, "screen").len()));
        assert!(judgement(&report).claim.is_none());
    }
}

#[tokio::test]
async fn seeds_are_drawn_afresh_for_each_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = evaluator(folder.path(), History::default()).await;
    let purpose = Purpose::Calibrate { trials: 3 };
    let mut seeds = BTreeSet::new();
    for id in 1..=2 {
        let report = evaluator.evaluate(Job { purpose, ..named(id, THE_SAME) }).await.unwrap();
        seeds.extend(report.trials.iter().map(|trial| trial.seed));
    }
    assert!(seeds.len() == 6 && seeds.iter().all(|seed| (1_000..1 << 53).contains(seed)), "{seeds:?}");
}

#[tokio::test]
async fn a_loss_that_drifts_is_never_claimed() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = evaluator(folder.path(), History::default()).await;
    let report = evaluator.evaluate(named(1, &format!("{FASTER}\n// loss: 5.4"))).await.unwrap();
    assert_eq!(report.outcome.kind(), "loss_drift", "{}", report.outcome);
    assert!(stages(&report, "confirm").is_empty(), "a screening is enough for that");
    let report = evaluator.evaluate(named(2, &format!("{FASTER}\n// loss: 5.1"))).await.unwrap();
    assert_eq!(report.outcome.kind(), "loss_drift", "{}", report.outcome);
}

#[tokio::test]
async fn a_candidate_that_keeps_crashing_is_a_crash_and_forged_adapters_are_enough_once() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = evaluator(folder.path(), History::default()).await;
    let crash = evaluator.evaluate(named(1, "// only: trial\n// crash: trial")).await.unwrap();
    assert_eq!(crash.outcome.kind(), "crash", "{}", crash.outcome);
    assert_eq!(stages(&crash, "screen").len(), 2, "tried again once, with another seed");
    let forged = evaluator.evaluate(named(2, "// deviation: 0.5")).await.unwrap();
    assert_eq!(forged.outcome.kind(), "rejected", "{}", forged.outcome);
    assert_eq!(stages(&forged, "screen").len(), 1);
    assert!(forged.decision.is_none());
    // And life goes on.
    let report = evaluator.evaluate(named(3, FASTER)).await.unwrap();
    assert_eq!(report.outcome.measured().unwrap().verdict, Verdict::Improved);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_killed_evaluator_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = evaluator(folder.path(), History::default()).await;
    let first = evaluator.evaluate(named(1, FASTER)).await.unwrap();
    assert!(judgement(&first).claim.is_some());
    kill_9(evaluator_processes(folder.path())[0]);
    let second = evaluator.evaluate(named(2, THE_SAME)).await.unwrap();
    assert!(stages(&second, "calibration").is_empty(), "the noise is known already");
    let number = |report: &EvaluationReport, last: bool| {
        let numbers = report.trials.iter().filter_map(|trial| trial.number);
        if last { numbers.max() } else { numbers.min() }
    };
    assert_eq!(number(&second, false), number(&first, true).map(|last| last + 1));
    assert_ne!(
        second.outcome.measured().unwrap().verdict,
        Verdict::Improved,
        "it is slower than the reference"
    );
}

#[tokio::test]
async fn an_evaluation_that_is_cancelled_leaves_no_trace_in_the_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = evaluator(folder.path(), History::default()).await;
    let mut events = evaluator.events();
    let cancelled = tokio::spawn({
        let evaluator = evaluator.clone();
        async move { evaluator.evaluate(named(1, FASTER)).await.map(drop) }
    });
    while !matches!(events.recv().await.unwrap().event, evaluator::Event::TrialEnded { .. }) {}
    cancelled.abort();
    let report = evaluator.evaluate(named(2, THE_SAME)).await.unwrap();
    assert_eq!(stages(&report, "calibration").len(), 6, "nobody knows of the cancelled one's trials");
}

#[tokio::test]
async fn a_comparison_is_fresh_pairs_that_the_protocol_does_not_hear_of() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = evaluator(folder.path(), History::default()).await;
    for opponent in [Opponent::Baseline, Opponent::MlxLm] {
        let purpose = Purpose::Compare { opponent };
        let report = evaluator.evaluate(Job { purpose, ..named(1, FASTER) }).await.unwrap();
        assert_eq!(report.trials.len(), 24, "{}", report.outcome);
        assert!(report.trials.iter().all(|trial| trial.number.is_none() && trial.stage == "final"));
        let effects = &judgement(&report).effects;
        // MLX-LM's stand-in takes 0.05 s and 1000 bytes, the baseline 0.06 s.
        assert!(effects[0].change > 0.1 && effects[0].interval.unwrap().0 > 0.0, "{effects:?}");
        let memory = &effects[1];
        assert!(memory.change > 0.4, "{memory:?}");
        let opponents = report.trials.iter().filter(|trial| trial.arm == opponent.arm()).count();
        assert_eq!(opponents, 12);
    }
    let report = evaluator.evaluate(named(2, THE_SAME)).await.unwrap();
    assert_eq!((stages(&report, "calibration").len(), report.trials[0].number), (6, Some(0)));
}

#[tokio::test]
async fn a_calibration_is_one_program_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = evaluator(folder.path(), History::default()).await;
    let purpose = Purpose::Calibrate { trials: 5 };
    let report = evaluator.evaluate(Job { purpose, ..named(1, THE_SAME) }).await.unwrap();
    assert_eq!(report.trials.len(), 5);
    assert!(
        report
            .trials
            .iter()
            .all(|trial| trial.arm == Arm::Candidate && trial.ambient.load.is_some() || cfg!(not(unix)))
    );
    assert!(report.decision.is_none());
}
