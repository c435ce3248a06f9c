//! Command problems from end to end: client, evaluator process, launcher, command.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use evaluator::trial::Exit;
use evaluator::{EvaluationReport, Evaluator, EvaluatorError, Event, Job, Purpose};
use search::{Outcome, Stage};
#[cfg(target_os = "linux")]
use support::evaluator_processes;
use support::{command_problem, count_processes, eventually_async, kill_9, options, script, unique_sleep};
use tempfile::TempDir;

const SETTINGS: &str =
    "parallel: 4\nlimits: {trial_seconds: 5, memory_bytes: 200000000, program_bytes: 2000}\n";

async fn evaluator(settings: &str) -> (TempDir, Evaluator) {
    let folder = tempfile::tempdir().unwrap();
    let problem = command_problem(folder.path(), settings);
    let evaluator = Evaluator::spawn(options(folder.path(), problem)).await.unwrap();
    (folder, evaluator)
}

/// One whose commands can reach their launcher, the evaluator and files outside.
async fn unconfined(settings: &str) -> (TempDir, Evaluator) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), command_problem(folder.path(), settings));
    options.sandbox = false;
    let evaluator = Evaluator::spawn(options).await.unwrap();
    (folder, evaluator)
}

fn job(id: u64, lines: &str) -> Job {
    Job { id, program: script(lines), kernel: format!("hash{id}"), purpose: Purpose::Search }
}

async fn report(settings: &str, lines: &str) -> EvaluationReport {
    let (_folder, evaluator) = evaluator(settings).await;
    let report = evaluator.evaluate(job(1, lines)).await.unwrap();
    evaluator.shutdown().await;
    report
}

async fn outcome(lines: &str) -> Outcome {
    report(SETTINGS, lines).await.outcome
}

fn artifact<'a>(report: &'a EvaluationReport, name: &str) -> &'a str {
    let found = report.artifacts.iter().find(|artifact| artifact.name == name);
    found.map_or_else(|| panic!("no artifact {name}"), |artifact| &artifact.content)
}

#[tokio::test]
async fn a_score_is_measured_with_its_metrics_and_artifacts() {
    let lines = "echo noise\necho to stderr >&2\necho '{\"score\": 1.5, \"size\": 3, \"artifacts\": {\"note\": \"hi\"}}'";
    let report = report(SETTINGS, lines).await;
    let measured = report.outcome.measured().expect("it was measured");
    assert!((measured.score.get() - 1.5).abs() < 1e-12);
    assert_eq!(measured.metrics.len(), 2);
    assert_eq!(artifact(&report, "note"), "hi");
    assert_eq!(artifact(&report, "stderr"), "to stderr\n");
    assert_eq!(report.measured_by.protocol, "command");
    let [trial] = report.trials.as_slice() else { panic!("{} trials", report.trials.len()) };
    assert_eq!((trial.exit, trial.stage.as_str(), trial.metrics.len()), (Exit::Ok, "command", 2));
    assert!(trial.wall_seconds.unwrap() > 0.0 && trial.process_peak_bytes.unwrap() > 0);
    assert!(report.started_at <= trial.started_at && trial.ended_at <= report.ended_at);
}

#[tokio::test]
async fn what_is_no_score_is_rejected_with_its_reason() {
    for (lines, words) in [
        ("echo '{\"score\": \"0.9\"}'", "has to be a number, not text"),
        ("echo '{\"score\": NaN}'", "not a finite number"),
        ("echo done", "no JSON object"),
        ("true", "printed nothing"),
        ("yes", "printed more than"),
    ] {
        let Outcome::Rejected { reason } = outcome(lines).await else { panic!("{lines} was not rejected") };
        assert!(reason.contains(words), "{lines}: {reason}");
    }
}

#[tokio::test]
async fn a_crash_says_how_and_keeps_standard_error() {
    let report = report(SETTINGS, "echo '{\"score\": 1}'; echo my last words >&2; exit 3").await;
    let Outcome::Crash { stage: Stage::Trial, message } = &report.outcome else {
        panic!("{}", report.outcome)
    };
    assert!(message.contains("code 3") && message.contains("my last words"), "{message}");
    assert_eq!(report.trials[0].exit, Exit::Crashed);
    let Outcome::Crash { message, .. } = outcome("kill -SEGV $$").await else { panic!("no crash") };
    assert!(message.contains("SIGSEGV"), "{message}");
}

#[tokio::test]
async fn a_hang_is_a_timeout_and_leaves_no_process() {
    let sleep = unique_sleep();
    let settings = "limits: {trial_seconds: 0.5}\n";
    let report = report(settings, &format!("trap '' TERM\nsleep {sleep} &\nsleep {sleep}")).await;
    assert_eq!(report.outcome, Outcome::Timeout { stage: Stage::Trial, limit_seconds: 0.5 });
    assert_eq!(report.trials[0].exit, Exit::Timeout);
    assert_eq!(count_processes(&sleep), 0);
}

#[tokio::test]
async fn too_much_memory_is_out_of_memory() {
    let lines = "python3 -c \"x = bytearray(b'x') * 400_000_000; import time; time.sleep(60)\"";
    let expected = Outcome::OutOfMemory { stage: Stage::Trial, limit_bytes: 200_000_000 };
    assert_eq!(outcome(lines).await, expected);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_daemon_does_not_outlive_its_evaluation() {
    let sleep = unique_sleep();
    let lines = format!("(setsid sleep {sleep} >/dev/null 2>&1 &)\necho '{{\"score\": 2}}'");
    assert!(outcome(&lines).await.score().is_some());
    assert_eq!(count_processes(&sleep), 0);
}

#[tokio::test]
async fn the_callers_environment_is_not_passed_on() {
    // Cargo sets this for every test, so the test process has it.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let settings = format!("{SETTINGS}environment: {{WANTED: 'yes'}}\n");
    let lines = "[ -z \"$CARGO_MANIFEST_DIR\" ] && [ \"$WANTED\" = yes ] && [ \"$HOME\" = \"$TMPDIR\" ] \
                 && [ \"$(env | wc -l)\" -le 7 ] && echo '{\"score\": 1}'";
    let report = report(&settings, lines).await;
    assert!(report.outcome.score().is_some(), "{}", report.outcome);
}

#[tokio::test]
async fn the_gate_comes_first() {
    let (_folder, evaluator) = evaluator(SETTINGS).await;
    let program = format!("rm -rf x\n{}", script("echo '{\"score\": 1}'"));
    let report = evaluator
        .evaluate(Job { id: 1, program, kernel: String::new(), purpose: Purpose::Search })
        .await
        .unwrap();
    assert_eq!(report.outcome.kind(), "gate");
    let long = "#".repeat(3_000);
    assert_eq!(evaluator.evaluate(job(2, &long)).await.unwrap().outcome.kind(), "gate");
    assert!(report.trials.is_empty());
}

#[tokio::test]
async fn a_command_that_is_missing_is_our_fault_not_the_candidates() {
    let folder = tempfile::tempdir().unwrap();
    command_problem(folder.path(), "");
    let yaml =
        "kind: command\nname: x\nlanguage: other\ninitial_program: initial.sh\ncommand: [no-such-command]\n";
    fs::write(folder.path().join("problem.yaml"), yaml).unwrap();
    let problem = evaluator::LoadedProblem::load(folder.path()).unwrap();
    let evaluator = Evaluator::spawn(options(folder.path(), problem)).await.unwrap();
    let error = evaluator.evaluate(job(1, "true")).await.unwrap_err();
    assert!(error.to_string().contains("no-such-command"), "{error}");
}

#[tokio::test]
async fn many_jobs_run_at_once_and_their_answers_are_not_mixed_up() {
    let (_folder, evaluator) = evaluator(SETTINGS).await;
    let mut events = evaluator.events();
    let started = Instant::now();
    let jobs =
        (0..12).map(|id| evaluator.evaluate(job(id, &format!("sleep 0.3; echo '{{\"score\": {id}}}'"))));
    let reports = futures::future::join_all(jobs).await;
    for (id, report) in reports.into_iter().enumerate() {
        assert!((report.unwrap().outcome.score().unwrap().get() - id as f64).abs() < 1e-12);
    }
    assert!(started.elapsed() < Duration::from_secs_f64(0.3 * 12.0), "they ran one after the other");
    let mut ends = 0;
    while let Ok(progress) = events.try_recv() {
        ends += usize::from(matches!(progress.event, Event::TrialEnded { exit: Exit::Ok, .. }));
    }
    assert_eq!(ends, 12);
}

#[tokio::test]
async fn by_default_commands_run_one_at_a_time() {
    let (folder, evaluator) = unconfined("").await;
    let busy = folder.path().join("busy");
    let busy = busy.display();
    let lines = format!("mkdir {busy} || exit 9; sleep 0.05; rmdir {busy}; echo '{{\"score\": 1}}'");
    let reports = futures::future::join_all((0..5).map(|id| evaluator.evaluate(job(id, &lines)))).await;
    assert!(reports.into_iter().all(|report| report.unwrap().outcome.score().is_some()));
}

#[tokio::test]
async fn a_dropped_evaluation_is_cancelled_and_its_processes_are_killed() {
    let (_folder, evaluator) = evaluator(SETTINGS).await;
    let sleep = unique_sleep();
    let running = tokio::spawn({
        let (evaluator, lines) = (evaluator.clone(), format!("sleep {sleep}; true"));
        async move { evaluator.evaluate(job(1, &lines)).await }
    });
    eventually_async("it runs", || count_processes(&sleep) > 0).await;
    running.abort();
    eventually_async("it is killed", || count_processes(&sleep) == 0).await;
    // The same id may be used again.
    assert!(evaluator.evaluate(job(1, "echo '{\"score\": 1}'")).await.unwrap().outcome.score().is_some());
}

#[tokio::test]
async fn shutdown_kills_everything_and_leaves_no_files() {
    let (folder, evaluator) = evaluator(SETTINGS).await;
    let sleep = unique_sleep();
    let running = tokio::spawn({
        let (evaluator, lines) = (evaluator.clone(), format!("sleep {sleep} & sleep {sleep}"));
        async move { evaluator.evaluate(job(1, &lines)).await }
    });
    eventually_async("it runs", || count_processes(&sleep) > 0).await;
    evaluator.clone().shutdown().await;
    assert_eq!(count_processes(&sleep), 0);
    assert!(matches!(running.await.unwrap(), Err(EvaluatorError::Shutdown)));
    assert!(matches!(evaluator.evaluate(job(2, "true")).await, Err(EvaluatorError::Shutdown)));
    assert_eq!(leftovers(&folder.path().join("scratch")), Vec::<String>::new());
}

fn leftovers(scratch: &Path) -> Vec<String> {
    let names = fs::read_dir(scratch).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("evolve-evaluator-")).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn kill_9_of_the_evaluator_loses_no_job_and_leaves_no_process() {
    let (folder, evaluator) = evaluator(SETTINGS).await;
    let mut events = evaluator.events();
    let sleep = unique_sleep();
    // The first time it hangs, the second time it doesn't.
    let marker = folder.path().join("second");
    let marker = marker.display();
    let lines = format!("[ -e {marker} ] || sleep {sleep}\necho '{{\"score\": 7}}'");
    let running: Vec<_> = (0..3)
        .map(|id| {
            let (evaluator, lines) = (evaluator.clone(), lines.clone());
            tokio::spawn(async move { evaluator.evaluate(job(id, &lines)).await })
        })
        .collect();
    eventually_async("all run", || count_processes(&sleep) == 3).await;
    fs::write(folder.path().join("second"), "").unwrap();
    let pids = evaluator_processes(folder.path());
    assert_eq!(pids.len(), 1);
    kill_9(pids[0]);
    for report in running {
        assert_eq!(report.await.unwrap().unwrap().outcome.score().map(search::Score::get), Some(7.0));
    }
    eventually_async("the first ones are killed", || count_processes(&sleep) == 0).await;
    let resent = std::iter::from_fn(|| events.try_recv().ok());
    assert_eq!(resent.filter(|progress| matches!(progress.event, Event::Resent { tries: 2 })).count(), 3);
    evaluator.shutdown().await;
    // The second process has removed what the first one could not.
    assert_eq!(leftovers(&folder.path().join("scratch")), Vec::<String>::new());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_idle_evaluator_that_was_killed_is_replaced() {
    let (folder, evaluator) = evaluator(SETTINGS).await;
    kill_9(evaluator_processes(folder.path())[0]);
    eventually_async("it is gone", || evaluator_processes(folder.path()).is_empty()).await;
    assert!(evaluator.evaluate(job(1, "echo '{\"score\": 1}'")).await.unwrap().outcome.score().is_some());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_job_that_kills_the_evaluator_every_time_is_given_up() {
    let (_folder, evaluator) = unconfined(SETTINGS).await;
    // The script's parent is the launcher, whose parent is the evaluator.
    let killer = "kill -9 $(cut -d ' ' -f 4 /proc/$PPID/stat); sleep 10";
    let error = evaluator.evaluate(job(1, killer)).await.unwrap_err();
    assert!(matches!(error, EvaluatorError::GaveUp { tries: 3, .. }), "{error}");
    assert!(evaluator.evaluate(job(2, "echo '{\"score\": 1}'")).await.unwrap().outcome.score().is_some());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_job_that_kills_its_launcher_leaves_no_process_behind() {
    let (_folder, evaluator) = unconfined(SETTINGS).await;
    let sleep = unique_sleep();
    let killer = format!("(setsid sleep {sleep} &); sleep {sleep} & sleep 0.2; kill -9 $PPID; sleep {sleep}");
    let report = evaluator.evaluate(job(1, &killer)).await.unwrap();
    let Outcome::Crash { message, .. } = &report.outcome else { panic!("{}", report.outcome) };
    assert!(message.contains("killed with its launcher"), "{message}");
    let exits: Vec<Exit> = report.trials.iter().map(|trial| trial.exit).collect();
    assert_eq!(exits, [Exit::Killed; 2], "a killed command is run once more");
    eventually_async("all are gone", || count_processes(&sleep) == 0).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn in_the_sandbox_a_job_finds_neither_its_launcher_nor_files_outside() {
    let (folder, evaluator) = evaluator(SETTINGS).await;
    let secret = folder.path().join("initial.sh.key");
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(&secret, "in the problem's folder").unwrap();
    let lines = format!(
        "cat {} > /dev/null || exit 1; cat {} && exit 2; touch {}/new && exit 3; ls /proc/1/fd && exit 4; \
         [ $PPID = 1 ] || exit 5; echo '{{\"score\": 1}}'",
        secret.display(),
        outside.path().display(),
        folder.path().display(),
    );
    let report = evaluator.evaluate(job(1, &lines)).await.unwrap();
    assert!(report.outcome.score().is_some(), "{} {:?}", report.outcome, report.artifacts);
    assert_eq!(report.measured_by.sandbox, evaluator::order::Tier::Full);
    assert!(!folder.path().join("new").exists());
}

#[tokio::test]
async fn without_the_sandbox_the_report_says_so() {
    let (_folder, evaluator) = unconfined(SETTINGS).await;
    let report = evaluator.evaluate(job(1, "echo '{\"score\": 1}'")).await.unwrap();
    assert_eq!(report.measured_by.sandbox, evaluator::order::Tier::None);
}

#[tokio::test]
async fn a_missing_executable_names_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), command_problem(folder.path(), ""));
    options.program = folder.path().join("evolve-evaluator");
    let error = Evaluator::spawn(options).await.unwrap_err();
    assert!(error.to_string().contains("cargo build"), "{error}");
}

/// A judge for tasks whose answer is the challenge itself; it keeps its own notes beside it.
const JUDGE: &str = "\
case $1 in
  make) echo \"challenge $2\" ;;
  score)
    if cmp -s \"$2\" \"$3\"; then echo \"{\\\"score\\\": 7, \\\"seconds\\\": $4}\"
    else echo '{\"error\": \"the answer is another one\"}'; fi ;;
esac
";

async fn judged(judge: &str, lines: &str) -> Result<EvaluationReport, EvaluatorError> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("judge.sh"), judge).unwrap();
    let problem = command_problem(folder.path(), &format!("{SETTINGS}judge: [sh, judge.sh]\n"));
    let evaluator = Evaluator::spawn(options(folder.path(), problem)).await.unwrap();
    let report = evaluator.evaluate(job(1, lines)).await;
    evaluator.shutdown().await;
    report
}

#[tokio::test]
async fn with_a_judge_the_number_comes_from_the_judge() {
    let report = judged(JUDGE, "cat").await.unwrap();
    let measured = report.outcome.measured().unwrap_or_else(|| panic!("{}", report.outcome));
    assert!((measured.score.get() - 7.0).abs() < 1e-12);
    let seconds = measured.metrics["seconds"];
    assert!((seconds - report.trials[0].wall_seconds.unwrap()).abs() < 1e-9, "{seconds}");
    assert!(measured.reason.contains("judge"), "{}", measured.reason);
}

#[tokio::test]
async fn with_a_judge_a_score_that_the_candidate_prints_is_only_a_wrong_answer() {
    for lines in ["echo '{\"score\": 1000000}'", "cat; echo '{\"score\": 1000000}'", "cat > /dev/null"] {
        let outcome = judged(JUDGE, lines).await.unwrap().outcome;
        let reason = "judge: the answer is another one".to_owned();
        assert_eq!(outcome, Outcome::Rejected { reason }, "{lines}");
    }
}

#[tokio::test]
async fn every_evaluation_gets_another_challenge() {
    let mut answers = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let report = judged(&JUDGE.replace("cmp -s", "false"), "cat").await.unwrap();
        answers.insert(artifact(&report, "stdout").to_owned());
    }
    assert_eq!(answers.len(), 3, "{answers:?}");
}

#[tokio::test]
async fn a_broken_judge_is_our_error_not_the_candidates() {
    for judge in ["exit 3", "case $1 in make) ;; score) echo nonsense ;; esac"] {
        let error = judged(judge, "cat").await.unwrap_err().to_string();
        assert!(error.contains("the problem's judge"), "{error}");
    }
}
