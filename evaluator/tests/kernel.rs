//! Kernel problems from end to end with a stand-in for MLX: a script instead of `rustc` and one instead of the
//! trial runner. What they do is written in the program, so every way in which a kernel can fail is played through.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use evaluator::trial::{Arm, Exit};
use evaluator::{EvaluationReport, Evaluator, EvaluatorError, Event, Job, LoadedProblem};
use search::{Outcome, Stage, Verdict};
use serde_json::json;
use support::options;
use tempfile::TempDir;

const PROBLEM: &str = "
kind: kernel
name: test
initial_program: initial.rs
objectives:
  - {metric: tokens_per_second, weight: 0.6}
  - {metric: peak_memory_bytes, weight: 0.4}
model: {folder: model}
training:
  {num_layers: 2, rank: 4, scale: 10.0, learning_rate: 0.001, optimizer: adam, batch_size: 1, sequence_length: 8,
   iterations: 2, warmup_iterations: 1, validation_batches: 1, data: data.jsonl}
limits: {compile_seconds: 2, check_seconds: 2, trial_seconds: 2}
";

fn program(orders: &str) -> String {
    format!("// EVOLVE-BLOCK-START\n{orders}\n// EVOLVE-BLOCK-END\npub fn build() {{}}\n")
}

fn job(orders: &str) -> Job {
    Job { id: 1, program: program(orders), kernel: "hash of it".to_owned() }
}

fn executable(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn start(folder: &Path, problem: &str, initial: &str) -> Result<Evaluator, EvaluatorError> {
    fs::write(folder.join("initial.rs"), initial).unwrap();
    fs::write(folder.join("problem.yaml"), problem).unwrap();
    let harness = json!({
        "runner": executable(folder, "runner", include_str!("data/fake_runner.py")),
        "kernel_api": executable(folder, "libkernel_api.so", ""),
        "dependencies": [folder],
        "libraries": [folder],
        "rustc": executable(folder, "rustc", include_str!("data/fake_rustc.sh")),
        "rustc_version": "rustc 1.95.0",
        "reference": folder.join("reference.md"),
        "description": {"harness": "0.1", "mlx": "0.32", "backend": "cpu", "device": "a processor"},
    });
    fs::write(folder.join("harness.json"), harness.to_string()).unwrap();
    let mut options = options(folder, LoadedProblem::load(folder).unwrap());
    options.harness = Some(folder.join("harness.json"));
    Evaluator::spawn(options).await
}

async fn evaluator() -> (TempDir, Evaluator) {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = start(folder.path(), PROBLEM, &program("// the baseline")).await.unwrap();
    (folder, evaluator)
}

async fn report(orders: &str) -> EvaluationReport {
    let (_folder, evaluator) = evaluator().await;
    let report = evaluator.evaluate(job(orders)).await.unwrap();
    evaluator.shutdown().await;
    report
}

async fn outcome(orders: &str) -> Outcome {
    report(orders).await.outcome
}

#[tokio::test]
async fn a_faster_leaner_kernel_is_improved_by_the_evaluators_own_clock() {
    let report = report("// seconds: 0.025\n// memory: 500").await;
    let measured = report.outcome.measured().unwrap_or_else(|| panic!("{}", report.outcome));
    assert_eq!(measured.verdict, Verdict::Improved, "{}", measured.reason);
    // Twice as fast and half the memory, but for the overhead of the machine.
    assert!((1.5..2.2).contains(&measured.score.get()), "{}", measured.score);
    let speed = &measured.effects[0];
    assert!(speed.significant && speed.p_value.unwrap() < 0.05 && speed.n == (5, 5));
    assert!(speed.candidate < 1000.0 / 0.025, "the runner's clock was believed");
    assert!((measured.effects[1].change - 0.5).abs() < 1e-12);

    let seeds: Vec<u64> = report.trials.iter().map(|trial| trial.seed).collect();
    assert_eq!(seeds, [42, 43, 44, 45, 46, 100, 101, 102, 103, 104]);
    for (index, trial) in report.trials.iter().enumerate() {
        let (arm, kernel) =
            if index < 5 { (Arm::Baseline, "baseline") } else { (Arm::Candidate, "hash of it") };
        assert_eq!((trial.index, trial.arm, trial.exit), (index as u32, arm, Exit::Ok));
        assert_eq!((trial.stage.as_str(), trial.kernel.as_deref()), ("fixed", Some(kernel)));
        assert_eq!(
            (trial.kernel_layers, trial.train_loss, trial.validation_loss),
            (Some(4), Some(5.5), Some(5.0))
        );
        assert!(trial.process_peak_bytes.unwrap() > 1_000_000 && trial.wall_seconds.unwrap() > 0.02);
    }
    assert_eq!(
        (report.measured_by.mlx.as_deref(), report.measured_by.protocol.as_str()),
        (Some("0.32"), "fixed")
    );
    assert_eq!(report.measured_by.parameters["candidate_seed"], 100);
}

#[tokio::test]
async fn a_slower_kernel_is_regressed() {
    let outcome = outcome("// seconds: 0.12").await;
    let measured = outcome.measured().unwrap();
    assert_eq!(measured.verdict, Verdict::Regressed);
    assert!(measured.score.get() < 0.8);
}

#[tokio::test]
async fn the_baseline_itself_scores_exactly_one_after_five_trials() {
    let report = report("// the baseline").await;
    let measured = report.outcome.measured().unwrap();
    assert!((measured.score.get() - 1.0).abs() < f64::EPSILON);
    assert_eq!((measured.verdict, report.trials.len()), (Verdict::Inconclusive, 5));
    assert!(measured.metrics["tokens_per_second"] > 0.0);
}

#[tokio::test]
async fn the_compilers_words_are_the_outcome_and_an_artifact() {
    let report = report("// compile: error").await;
    let expected = "error[E0308]: mismatched types\n --> candidate.rs:3:5";
    assert_eq!(report.outcome, Outcome::Compile { message: expected.to_owned() });
    assert_eq!(
        (report.artifacts[0].name.as_str(), report.artifacts[0].content.as_str()),
        ("compiler", expected)
    );
    assert!(report.trials.is_empty());
}

#[tokio::test]
async fn a_compiler_that_dies_or_hangs_is_the_candidates_doing() {
    let crash = outcome("// compile: crash").await;
    assert!(
        matches!(&crash, Outcome::Crash { stage: Stage::Compile, message } if message.contains("SIGSEGV"))
    );
    assert_eq!(
        outcome("// compile: hang").await,
        Outcome::Timeout { stage: Stage::Compile, limit_seconds: 2.0 }
    );
}

#[tokio::test]
async fn every_way_to_fail_a_check_is_told_apart() {
    let report = report("// check: 0.5").await;
    let Outcome::WrongResult { message } = &report.outcome else { panic!("{}", report.outcome) };
    assert!(message.starts_with("grad x with x [1, 7, 256]") && message.contains("5.0e-1"), "{message}");
    assert_eq!(report.artifacts[0].name, "comparisons");

    let crash = report_of_crash("// crash: check").await;
    assert_eq!(crash.0, Stage::Check);
    assert!(crash.1.contains("SIGABRT") && crash.1.contains("the kernel's last words"), "{}", crash.1);
    assert_eq!(report_of_crash("// fail: check").await, (Stage::Check, "shapes do not match".to_owned()));
    assert!(report_of_crash("// garbage: check").await.1.contains("unreadable"));
    assert_eq!(outcome("// hang: check").await, Outcome::Timeout { stage: Stage::Check, limit_seconds: 2.0 });
}

async fn report_of_crash(orders: &str) -> (Stage, String) {
    match outcome(orders).await {
        Outcome::Crash { stage, message } => (stage, message),
        other => panic!("{orders}: {other}"),
    }
}

#[tokio::test]
async fn a_first_trial_that_fails_ends_the_evaluation() {
    let report = report("// crash: trial").await;
    assert!(matches!(report.outcome, Outcome::Crash { stage: Stage::Trial, .. }), "{}", report.outcome);
    assert_eq!(report.trials.len(), 6);
    let last = report.trials.last().unwrap();
    assert_eq!((last.exit, last.tokens_per_second), (Exit::Crashed, None));
    assert!(report.artifacts.iter().any(|artifact| artifact.content.contains("last words")));
    assert_eq!(report_of_crash("// fail: trial").await, (Stage::Trial, "shapes do not match".to_owned()));
    assert_eq!(outcome("// hang: trial").await, Outcome::Timeout { stage: Stage::Trial, limit_seconds: 2.0 });
}

#[tokio::test]
async fn a_later_failure_does_not_touch_the_other_trials() {
    let report = report("// crash: late").await;
    assert_eq!(report.outcome.measured().unwrap().effects[0].n, (5, 4));
    let failed: Vec<u64> =
        report.trials.iter().filter(|trial| trial.exit != Exit::Ok).map(|trial| trial.seed).collect();
    assert_eq!(failed, [103]);
}

#[tokio::test]
async fn a_kernel_that_was_not_applied_is_rejected() {
    for orders in ["// name: mlx-lm", "// name: baseline", "// layers: 0"] {
        let Outcome::Rejected { reason } = outcome(orders).await else { panic!("{orders} was not rejected") };
        assert!(reason.starts_with("kernel was not applied"), "{reason}");
    }
}

#[tokio::test]
async fn drifting_loss_is_its_own_outcome() {
    let drift = outcome("// seconds: 0.02\n// loss: 5.25").await;
    assert_eq!(drift, Outcome::LossDrift { baseline: 5.0, candidate: 5.25, limit: 0.01 });
    let Outcome::Rejected { reason } = outcome("// loss: null").await else { panic!("NaN was accepted") };
    assert_eq!(reason, "the loss became NaN or infinite");
}

#[tokio::test]
async fn a_trial_that_somebody_kills_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("killed");
    let report = report(&format!("// kill-once: {}", marker.display())).await;
    assert!(report.outcome.measured().is_some(), "{}", report.outcome);
    let exits: Vec<Exit> = report.trials.iter().map(|trial| trial.exit).collect();
    assert_eq!((exits.len(), exits[5]), (11, Exit::Killed));
    assert_eq!(report.trials[5].seed, report.trials[6].seed);
}

#[tokio::test]
async fn a_fault_of_the_set_up_is_an_error_not_an_outcome() {
    let (_folder, evaluator) = evaluator().await;
    let error = evaluator.evaluate(job("// fail: setup")).await.unwrap_err();
    assert!(matches!(&error, EvaluatorError::Job(message) if message.contains("no such model")), "{error}");
    let error = evaluator.evaluate(job("// quantized: 0")).await.unwrap_err();
    assert!(error.to_string().contains("no quantized layers"), "{error}");
}

#[tokio::test]
async fn a_baseline_that_cannot_be_used_stops_the_start_or_the_job_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let cannot_start = |initial: String| {
        let folder = folder.path().to_owned();
        async move { start(&folder, PROBLEM, &initial).await.unwrap_err().to_string() }
    };
    let error = cannot_start(program("// compile: error")).await;
    assert!(
        error.contains("initial.rs: the initial program doesn't compile") && error.contains("E0308"),
        "{error}"
    );
    let error = cannot_start(program("fn f() { unsafe {} }")).await;
    assert!(error.contains("initial.rs:2: the initial program is refused itself"), "{error}");
    let evaluator = start(folder.path(), PROBLEM, &program("// crash: trial")).await.unwrap();
    let error = evaluator.evaluate(job("")).await.unwrap_err().to_string();
    assert!(
        error.contains("the baseline itself can't be measured") && error.contains("last words"),
        "{error}"
    );
}

#[tokio::test]
async fn without_a_harness_the_remedy_is_named() {
    let folder = tempfile::tempdir().unwrap();
    start(folder.path(), PROBLEM, &program("")).await.unwrap().shutdown().await;
    let mut options = options(folder.path(), LoadedProblem::load(folder.path()).unwrap());
    options.harness = Some(folder.path().join("nowhere.json"));
    let error = Evaluator::spawn(options).await.unwrap_err();
    assert!(matches!(&error, EvaluatorError::Setup(message) if message.contains("`make mlx`")), "{error}");
}

#[tokio::test]
async fn progress_tells_every_stage_and_trial() {
    let (_folder, evaluator) = evaluator().await;
    let mut events = evaluator.events();
    evaluator.evaluate(job("// seconds: 0.03")).await.unwrap();
    let mut told = Vec::new();
    while let Ok(progress) = events.try_recv() {
        told.push(match progress.event {
            Event::Entered { stage } => stage.to_string(),
            Event::TrialStarted { number, of, .. } => format!("{number} of {of}"),
            Event::TrialEnded { exit, .. } => exit.to_string(),
            Event::Resent { .. } => "resent".to_owned(),
        });
    }
    assert_eq!(told[..5], ["compile", "check", "trial", "1 of 10", "ok"]);
    assert_eq!((told.len(), told.last().map(String::as_str)), (23, Some("ok")));
}

#[tokio::test]
async fn two_candidates_at_once_keep_their_trials_apart() {
    let (_folder, evaluator) = evaluator().await;
    let jobs = [(1, "// seconds: 0.02"), (2, "// seconds: 0.06")];
    let jobs = jobs.map(|(id, orders)| evaluator.evaluate(Job { id, ..job(orders) }));
    let mut spans: Vec<(i64, i64)> = Vec::new();
    for report in futures::future::join_all(jobs).await {
        let report = report.unwrap();
        assert!(report.outcome.measured().is_some());
        spans.extend(report.trials.iter().map(|trial| (trial.started_at, trial.ended_at)));
    }
    spans.sort_unstable();
    assert_eq!(spans.len(), 20);
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 1), "two trials overlapped: {spans:?}");
}
