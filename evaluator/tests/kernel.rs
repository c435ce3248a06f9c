//! Kernel problems from end to end with stand-ins for MLX: scripts instead of `rustc`, the trial runner and the grader. What
//! they do is written in the program, so every way in which a kernel can fail or cheat is played through. They are Python and
//! look at files of the test, so nothing of this is in the sandbox; see `mlx.rs` for that.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod support;

use std::fs;
use std::path::Path;

use evaluator::trial::{Arm, Exit};
use evaluator::{EvaluationReport, Evaluator, EvaluatorError, Event, Job, LoadedProblem, Opponent, Purpose};
use search::{Outcome, Stage, Verdict};
use serde_json::json;
use support::options;
use support::stand_ins::{FIXED as PROBLEM, job, program, start};
use tempfile::TempDir;

/// With orders for the stand-in of the grader.
async fn start_graded_by(
    folder: &Path,
    grader: &serde_json::Value,
    initial: &str,
) -> Result<Evaluator, EvaluatorError> {
    fs::write(folder.join("data.jsonl"), grader.to_string()).unwrap();
    start(folder, PROBLEM, initial).await
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
    // Twice as fast and half the memory, but for the machine's overhead, and shrunk by its noise.
    assert!((1.3..2.2).contains(&measured.score.get()), "{}", measured.score);
    let speed = &measured.effects[0];
    assert!(speed.significant && speed.p_value.unwrap() < 0.05 && speed.n == (5, 5));
    assert!(speed.candidate < 1000.0 / 0.025, "the runner's clock was believed");
    assert!((measured.effects[1].change - 0.5).abs() < 1e-12);

    let seeds: Vec<u64> = report.trials.iter().map(|trial| trial.seed).collect();
    assert_eq!(seeds, [42, 43, 44, 45, 46, 100, 101, 102, 103, 104]);
    let numbers: Vec<Option<u64>> = report.trials.iter().map(|trial| trial.number).collect();
    assert_eq!(numbers, (0..10).map(Some).collect::<Vec<_>>());
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
    // Shrunk by the noise of a busy machine.
    assert!(measured.score.get() < 1.0);
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
    assert!(report_of_crash("// garbage: check").await.1.contains("answer is unreadable"));
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
    let folder = tempfile::tempdir().unwrap();
    let report = report(&format!("// crash-fourth: {}", folder.path().join("count").display())).await;
    assert_eq!(report.outcome.measured().unwrap().effects[0].n, (5, 4), "{}", report.outcome);
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

async fn rejected(orders: &str) -> String {
    match outcome(orders).await {
        Outcome::Rejected { reason } => reason,
        other => panic!("{orders}: {other}"),
    }
}

#[tokio::test]
async fn drifting_loss_is_its_own_outcome() {
    let drift = outcome("// seconds: 0.02\n// loss: 5.25").await;
    assert_eq!(drift, Outcome::LossDrift { baseline: 5.0, candidate: 5.25, limit: 0.01 });
    assert_eq!(rejected("// loss: nan").await, "judge: the validation loss became NaN or infinite");
}

#[tokio::test]
async fn adapters_that_the_reference_does_not_train_are_refused_whatever_is_said_of_them() {
    for orders in ["// deviation: 0.5", "// deviation: nan", "// seed: wrong\n// claims: best"] {
        let report = report(orders).await;
        let Outcome::Rejected { reason } = &report.outcome else { panic!("{orders}: {}", report.outcome) };
        assert!(reason.starts_with("judge: ") && reason.contains("mlp.up_proj lora_a"), "{orders}: {reason}");
        // The first foul trial is enough.
        assert_eq!((report.trials.len(), report.trials[5].exit), (6, Exit::Invalid));
        assert!(report.trials[5].message.as_deref().unwrap().starts_with("judge: "));
    }
}

#[tokio::test]
async fn what_a_runner_claims_about_speed_tokens_and_loss_is_not_believed() {
    let report = report("// claims: best").await;
    let measured = report.outcome.measured().unwrap_or_else(|| panic!("{}", report.outcome));
    assert!((0.7..1.4).contains(&measured.score.get()), "{}", measured.score);
    for trial in &report.trials[5..] {
        assert!(trial.tokens_per_second.unwrap() < 1000.0 / 0.05, "{trial:?}");
        assert_eq!((trial.metrics["tokens"], trial.validation_loss), (1000.0, Some(5.0)));
        assert_eq!((trial.train_loss, trial.metrics["deviation"]), (Some(5.5), 0.0));
    }
}

#[tokio::test]
async fn faster_than_physics_is_refused() {
    let reason = rejected("// floor: 1.5").await;
    assert!(reason.starts_with("floor: ") && reason.contains("1.5000 s"), "{reason}");
}

#[tokio::test]
async fn memory_that_only_the_operating_system_sees_is_refused() {
    let reason = rejected("// hold: 60000000").await;
    assert!(reason.starts_with("memory: "), "{reason}");
    // Who says so is only large.
    let honest = outcome("// hold: 60000000\n// memory: 60001000").await;
    assert!(honest.measured().is_some(), "{honest}");
}

#[tokio::test]
async fn an_answer_of_another_length_is_the_kernels_crash() {
    for (how, words) in [
        ("short", "a raw frame of 31 bytes instead of 32"),
        ("long", "a raw frame of 40 bytes instead of 32"),
        ("announced", "announces 33 bytes instead of 32"),
        ("none", "bytes instead of 32"),
    ] {
        if how != "none" {
            let (stage, message) = report_of_crash(&format!("// bytes: {how}")).await;
            assert_eq!(stage, Stage::Check, "{how}");
            assert!(message.contains("bytes instead of ") && !message.ends_with(" of 32"), "{message}");
        }
        let (stage, message) = report_of_crash(&format!("// only: trial\n// bytes: {how}")).await;
        assert_eq!(stage, Stage::Trial, "{how}");
        assert!(message.contains(words), "{how}: {message}");
    }
}

#[tokio::test]
async fn an_answer_before_the_question_is_refused() {
    for (kind, stage) in [("check", Stage::Check), ("trial", Stage::Trial)] {
        let (failed, message) = report_of_crash(&format!("// early: {kind}")).await;
        assert_eq!(failed, stage);
        assert!(message.contains("answered before it was asked"), "{message}");
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_runs_into_the_limit() {
    let drip = outcome("// drip: trial").await;
    assert_eq!(drip, Outcome::Timeout { stage: Stage::Trial, limit_seconds: 2.0 });
    let drip = outcome("// drip: check").await;
    assert_eq!(drip, Outcome::Timeout { stage: Stage::Check, limit_seconds: 2.0 });
}

#[tokio::test]
async fn a_kernel_whose_sabotage_changes_nothing_is_not_what_runs() {
    for (ghost, what) in [("check", "a check"), ("trial", "a trial")] {
        let report = report(&format!("// ghost: {ghost}")).await;
        let Outcome::Rejected { reason } = &report.outcome else { panic!("{ghost}: {}", report.outcome) };
        assert!(reason.starts_with("canary: ") && reason.contains(what), "{reason}");
        assert!(report.trials.is_empty(), "the canary comes before the trials");
    }
}

#[tokio::test]
async fn screening_is_one_trial_with_all_fences() {
    let (_folder, evaluator) = evaluator().await;
    let screen = |orders: &str| evaluator.evaluate(Job { purpose: Purpose::Screen, ..job(orders) });
    let report = screen("// seconds: 0.02").await.unwrap();
    let measured = report.outcome.measured().unwrap_or_else(|| panic!("{}", report.outcome));
    assert!((measured.score.get() - 1.0).abs() < f64::EPSILON && measured.reason.starts_with("screened: "));
    assert_eq!((measured.verdict, report.trials.len()), (Verdict::Inconclusive, 1));
    assert_eq!((report.trials[0].arm, report.trials[0].exit), (Arm::Candidate, Exit::Ok));
    for (orders, kind) in [
        ("// check: 0.5", "wrong_result"),
        ("// ghost: trial", "rejected"),
        ("// deviation: 0.5", "rejected"),
        ("// crash: trial", "crash"),
        ("fn f() { unsafe {} }", "gate"),
    ] {
        assert_eq!(screen(orders).await.unwrap().outcome.kind(), kind, "{orders}");
    }
}

#[tokio::test]
async fn adapters_just_outside_the_tolerance_get_a_second_trial_and_no_third() {
    let (folder, evaluator) = evaluator().await;
    let screen = |orders: &str| evaluator.evaluate(Job { purpose: Purpose::Screen, ..job(orders) });
    let once = screen(&format!("// off-once: {}", folder.path().join("off").display())).await.unwrap();
    assert!(once.outcome.measured().is_some(), "{}", once.outcome);
    let [doubtful, fine] = once.trials.as_slice() else { panic!("{:?}", once.trials) };
    assert_eq!((doubtful.exit, fine.exit), (Exit::Invalid, Exit::Ok));
    assert_ne!(doubtful.seed, fine.seed, "what rounding does depends on the seed");
    let always = screen("// deviation: 0.015").await.unwrap();
    assert_eq!((always.outcome.kind(), always.trials.len()), ("rejected", 2), "{}", always.outcome);
}

#[tokio::test]
async fn a_grader_that_dies_is_replaced_and_one_that_dies_twice_is_our_fault() {
    let folder = tempfile::tempdir().unwrap();
    let once = json!({"die_once": folder.path().join("died")});
    let evaluator = start_graded_by(folder.path(), &once, &program("// the baseline")).await.unwrap();
    assert!(folder.path().join("died").exists());
    let report = evaluator.evaluate(job("// seconds: 0.02")).await.unwrap();
    assert!(report.outcome.measured().is_some(), "{}", report.outcome);

    let folder = tempfile::tempdir().unwrap();
    let error = start_graded_by(folder.path(), &json!({"die": true}), &program("")).await.unwrap_err();
    let words = error.to_string();
    assert!(words.contains("the grader died twice") && words.contains("the grader's last words"), "{words}");
}

#[tokio::test]
async fn judging_that_judges_nothing_stops_the_start() {
    for (grader, words) in [
        (json!({"blind": true}), "with the sign of every result turned it still passes a check"),
        (json!({"leave_out": "grad lora_b"}), "the grader left out grad lora_b"),
        (json!({"quantized": 0}), "no quantized layers"),
        (json!({"fail": "no such texts"}), "no such texts"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let error = start_graded_by(folder.path(), &grader, &program("")).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_champion_is_checked_before_its_first_comparison_and_not_before_the_next() {
    let (folder, evaluator) = evaluator().await;
    // Blaming the set-up in a check is a crash.
    let marker = folder.path().join("checks end");
    let orders = format!("// seconds: 0.02\n// blame-if: {}", marker.display());
    let compare = |orders: &str, opponent| {
        evaluator.evaluate(Job { purpose: Purpose::Compare { opponent }, ..job(orders) })
    };
    assert!(compare(&orders, Opponent::Baseline).await.unwrap().outcome.measured().is_some());
    fs::write(&marker, "").unwrap();
    let second = compare(&orders, Opponent::MlxLm).await.unwrap();
    assert!(second.outcome.measured().is_some(), "{}", second.outcome);
    let other = compare(&format!("{orders}\n// another program"), Opponent::Baseline).await.unwrap();
    assert_eq!(other.outcome.kind(), "crash", "{}", other.outcome);
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
async fn a_runner_that_blames_the_set_up_is_believed_only_if_the_baseline_says_so_too() {
    assert_eq!(report_of_crash("// blame: trial").await, (Stage::Trial, "no such model".to_owned()));
    assert_eq!(report_of_crash("// blame: check").await, (Stage::Check, "no such model".to_owned()));

    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let baseline = program(&format!("// blame-if: {}", gone.display()));
    let evaluator = start(folder.path(), PROBLEM, &baseline).await.unwrap();
    fs::write(&gone, "").unwrap();
    let error = evaluator.evaluate(job("// blame: check")).await.unwrap_err();
    assert!(matches!(&error, EvaluatorError::Job(message) if message.contains("no such model")), "{error}");
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
    let error = cannot_start(program("// crash: check")).await;
    assert!(
        error.contains("the baseline itself can't be measured") && error.contains("last words"),
        "{error}"
    );
    let error = cannot_start(program("// ghost: trial")).await;
    assert!(error.contains("still passes a trial"), "{error}");
    let evaluator = start(folder.path(), PROBLEM, &program("// deviation: 0.5")).await.unwrap();
    let error = evaluator.evaluate(job("")).await.unwrap_err().to_string();
    assert!(error.contains("the baseline itself can't be measured") && error.contains("judge: "), "{error}");
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
