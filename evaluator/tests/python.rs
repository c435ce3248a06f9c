//! Evaluators in Python, from end to end: the contract, and programs that misbehave, in the real sandbox.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod support;

use std::fs;
use std::path::Path;

use evaluator::trial::Exit;
use evaluator::{Artifact, EvaluationReport, Evaluator, EvaluatorError, Job, Purpose};
use search::{Outcome, Stage};
use support::{count_processes, options, python_problem, script, unique_sleep};
use tempfile::TempDir;

/// Runs the program's `answer()` within the evaluator's own process, as most evaluators do.
const EVALUATOR: &str = "
import importlib.util
LOADED = []

def evaluate(path):
    LOADED.append(path)
    spec = importlib.util.spec_from_file_location('program', path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    answer = program.answer()
    return answer if isinstance(answer, dict) or not isinstance(answer, (int, float)) else {'combined_score': answer, 'calls': len(LOADED)}
";

const SETTINGS: &str = "python: {file: evaluator.py}\nlimits: {trial_seconds: 1, memory_bytes: 200000000}\n";

/// For what looks at each evaluation by itself.
const SINGLE: &str = "noise: {confirmations: 0}\n";

async fn evaluator_of(evaluator: &str, settings: &str) -> (TempDir, Evaluator) {
    let folder = tempfile::tempdir().unwrap();
    let problem = python_problem(folder.path(), evaluator, settings);
    let evaluator = Evaluator::spawn(options(folder.path(), problem)).await.unwrap();
    (folder, evaluator)
}

async fn evaluator() -> (TempDir, Evaluator) {
    evaluator_of(EVALUATOR, &format!("{SETTINGS}{SINGLE}")).await
}

/// A program whose `answer` has these lines.
fn job(id: u64, lines: &str) -> Job {
    let body = lines.replace('\n', "\n    ");
    let program = script(&format!("import os, signal, subprocess, sys, time\ndef answer():\n    {body}"));
    Job { id, program, kernel: format!("hash{id}"), purpose: Purpose::Search }
}

async fn report(evaluator: &Evaluator, lines: &str) -> EvaluationReport {
    evaluator.evaluate(job(1, lines)).await.unwrap()
}

async fn score(evaluator: &Evaluator, lines: &str) -> f64 {
    let report = report(evaluator, lines).await;
    report.outcome.score().unwrap_or_else(|| panic!("{} {:?}", report.outcome, report.artifacts)).get()
}

fn artifact<'a>(report: &'a EvaluationReport, name: &str) -> &'a str {
    let found = report.artifacts.iter().find(|artifact| artifact.name == name);
    found.map_or_else(
        || panic!("no artifact {name} among {:?}", report.artifacts),
        |artifact| &artifact.content,
    )
}

#[tokio::test]
async fn the_module_is_loaded_once_and_no_evaluation_sees_what_another_did() {
    let (_folder, evaluator) = evaluator().await;
    for answer in ["2.5", "3.5"] {
        let report = report(&evaluator, &format!("return {answer}")).await;
        let measured = report.outcome.measured().unwrap_or_else(|| panic!("{}", report.outcome));
        assert_eq!(measured.score.get().to_string(), answer);
        assert_eq!(measured.metrics["calls"].to_bits(), 1f64.to_bits(), "state of another evaluation");
        let [trial] = report.trials.as_slice() else { panic!("{} trials", report.trials.len()) };
        assert_eq!((trial.exit, trial.stage.as_str()), (Exit::Ok, "command"));
        assert!(trial.wall_seconds.unwrap() > 0.0 && trial.process_peak_bytes.unwrap() > 0);
        assert_eq!(report.measured_by.sandbox, evaluator::order::Tier::Full);
    }
}

/// Evaluates a program that misbehaves, then an honest one by the same evaluator.
async fn costs_one_evaluation(evaluator: &Evaluator, lines: &str) -> EvaluationReport {
    let report = evaluator.evaluate(job(1, lines)).await.unwrap();
    let next = evaluator.evaluate(job(2, "return 7.0")).await.unwrap();
    let score = next.outcome.score().unwrap_or_else(|| panic!("after {lines}: {}", next.outcome));
    assert_eq!(score.get().to_bits(), 7f64.to_bits(), "after {lines}");
    report
}

async fn crash(lines: &str) -> (String, EvaluationReport) {
    let (_folder, evaluator) = evaluator().await;
    let report = costs_one_evaluation(&evaluator, lines).await;
    let Outcome::Crash { stage: Stage::Trial, message } = &report.outcome else {
        panic!("{lines}: {} {:?}", report.outcome, report.artifacts)
    };
    (message.clone(), report)
}

async fn rejection(lines: &str) -> String {
    let (_folder, evaluator) = evaluator().await;
    let report = costs_one_evaluation(&evaluator, lines).await;
    let Outcome::Rejected { reason } = report.outcome else { panic!("{lines}: {}", report.outcome) };
    reason
}

async fn timeout(lines: &str) {
    let (_folder, evaluator) = evaluator().await;
    let report = costs_one_evaluation(&evaluator, lines).await;
    assert_eq!(report.outcome, Outcome::Timeout { stage: Stage::Trial, limit_seconds: 1.0 }, "{lines}");
    assert_eq!(report.trials[0].exit, Exit::Timeout);
}

#[tokio::test]
async fn a_hang_is_a_timeout() {
    timeout("time.sleep(1000)").await;
}

#[tokio::test]
async fn a_busy_loop_is_a_timeout() {
    timeout("while True: pass").await;
}

#[tokio::test]
async fn a_child_that_hangs_is_a_timeout_and_dies_with_it() {
    let sleep = unique_sleep();
    timeout(&format!("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsubprocess.run(['sleep', '{sleep}'])"))
        .await;
    assert_eq!(count_processes(&sleep), 0);
}

#[tokio::test]
async fn os_exit_is_a_crash_that_says_so() {
    let (message, report) = crash("print('so far'); sys.stdout.flush(); os._exit(0)").await;
    assert!(message.contains("exited with code 0 before it returned a result"), "{message}");
    assert_eq!(artifact(&report, "stdout"), "so far\n");
    assert_eq!(report.trials[0].exit, Exit::Crashed);
}

#[tokio::test]
async fn a_segfault_is_a_crash_with_its_signal() {
    let (message, _) = crash("import ctypes; ctypes.string_at(0)").await;
    assert!(message.contains("SIGSEGV"), "{message}");
}

#[tokio::test]
async fn a_program_that_kills_itself_is_run_once_more_and_then_a_crash() {
    let (message, report) = crash("os.kill(os.getpid(), 9)").await;
    assert!(message.contains("SIGKILL"), "{message}");
    let exits: Vec<Exit> = report.trials.iter().map(|trial| trial.exit).collect();
    assert_eq!(exits, [Exit::Killed; 2], "somebody else may have killed it the first time");
}

#[tokio::test]
async fn too_much_memory_is_out_of_memory() {
    let (_folder, evaluator) = evaluator().await;
    let expected = Outcome::OutOfMemory { stage: Stage::Trial, limit_bytes: 200_000_000 };
    // Slowly enough to be seen by the watchdog, and all at once.
    for lines in [
        "x = []\nwhile True: x.append(bytearray(b'x') * 10_000_000); time.sleep(0.01)",
        "x = bytearray(1 << 40)",
    ] {
        assert_eq!(costs_one_evaluation(&evaluator, lines).await.outcome, expected, "{lines}");
    }
}

#[tokio::test]
async fn a_daemon_does_not_outlive_its_evaluation() {
    let (_folder, evaluator) = evaluator().await;
    let sleep = unique_sleep();
    let lines = format!(
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.execvp('sleep', ['sleep', '{sleep}'])\n    os._exit(0)\n\
         os.wait(); time.sleep(0.1)\nreturn 5.0"
    );
    let report = costs_one_evaluation(&evaluator, &lines).await;
    assert!(report.outcome.score().is_some(), "{}", report.outcome);
    assert_eq!(count_processes(&sleep), 0);
}

#[tokio::test]
async fn a_daemon_that_holds_all_pipes_doesnt_hold_up_a_crash() {
    let (message, _) = crash("if os.fork() == 0: time.sleep(1000)\nos._exit(4)").await;
    assert!(message.contains("code 4"), "{message}");
}

#[tokio::test]
async fn a_fork_bomb_costs_one_evaluation() {
    let (_folder, evaluator) = evaluator().await;
    let lines = "while True:\n    try:\n        os.fork()\n    except OSError:\n        pass";
    let report = costs_one_evaluation(&evaluator, lines).await;
    // Many processes have much memory together.
    assert!(["timeout", "out_of_memory"].contains(&report.outcome.kind()), "{}", report.outcome);
}

#[tokio::test]
async fn system_exit_is_a_crash_and_not_the_end_of_anything() {
    let (message, report) = crash("sys.exit(3)").await;
    assert!(message.starts_with("SystemExit: 3"), "{message}");
    assert!(artifact(&report, "traceback").contains("sys.exit(3)"));
}

#[tokio::test]
async fn an_exception_is_a_crash_with_its_traceback_and_what_was_printed() {
    let (message, report) =
        crash("print('p' * 9); print('e' * 9, file=sys.stderr)\nraise ValueError('no good')").await;
    assert_eq!(message, "ValueError: no good");
    let traceback = artifact(&report, "traceback");
    assert!(traceback.starts_with("Traceback") && traceback.contains("in answer"), "{traceback}");
    assert!(!traceback.contains("contract.py"), "{traceback}");
    assert_eq!((artifact(&report, "stdout"), artifact(&report, "stderr")), ("ppppppppp\n", "eeeeeeeee\n"));
}

#[tokio::test]
async fn a_syntax_error_is_a_crash_that_names_the_line() {
    let (message, report) = crash("return (").await;
    assert!(message.starts_with("SyntaxError"), "{message}");
    assert!(artifact(&report, "traceback").contains("line "));
}

#[tokio::test]
async fn nan_and_infinity_are_no_scores() {
    assert!(
        rejection("return float('nan')").await.contains("`combined_score` is not a finite number but nan")
    );
    assert!(rejection("return {'combined_score': float('-inf')}").await.contains("-inf"));
}

#[tokio::test]
async fn none_is_rejected_with_what_it_has_to_be() {
    let reason = rejection("return None").await;
    assert!(reason.contains("returned None") && reason.contains("dictionary of metrics"), "{reason}");
    assert!(rejection("return (1, 2)").await.contains("type tuple"));
}

#[tokio::test]
async fn a_score_that_is_text_is_rejected() {
    let reason = rejection("return {'combined_score': '0.9'}").await;
    assert!(reason.contains("has to be a number, not text"), "{reason}");
}

#[tokio::test]
async fn a_program_that_closes_all_files_costs_one_evaluation() {
    let (message, _) = crash("os.closerange(0, 1000)\nreturn 1.0").await;
    assert!(message.contains("before it returned a result"), "{message}");
}

#[tokio::test]
async fn garbage_in_whatever_is_open_costs_one_evaluation() {
    let (_folder, evaluator) = evaluator().await;
    let lines = "for n in range(3, 200):\n    try: os.write(n, b'garbage' * 100)\n    except OSError: pass\nreturn 1.0";
    let report = costs_one_evaluation(&evaluator, lines).await;
    assert_eq!(report.outcome.kind(), "rejected", "{}", report.outcome);
    let forged = "for n in range(3, 200):\n    try: os.write(n, b'R\\x02\\0\\0\\0{}')\n    except OSError: pass\nreturn 1.0";
    let report = costs_one_evaluation(&evaluator, forged).await;
    assert_eq!(report.outcome.kind(), "rejected", "{}", report.outcome);
}

#[tokio::test]
async fn a_flood_of_output_is_cut_and_costs_no_more_than_its_time() {
    let (message, report) =
        crash("for _ in range(200): os.write(1, b'x' * 100_000)\nprint('the end')\nraise KeyError('k')")
            .await;
    assert!(message.contains("KeyError"), "{message}");
    let stdout = artifact(&report, "stdout");
    assert!(stdout.len() > 1_000_000 && stdout.len() <= Artifact::LIMIT && stdout.ends_with("the end\n"));
    // 20 000 008 bytes were written.
    assert!(
        stdout.contains(&format!("{} bytes left out", 20_000_008 - 2 * ((1 << 19) - 64))),
        "{}",
        stdout.len()
    );
}

#[tokio::test]
async fn an_artifact_of_100_megabytes_is_kept_with_its_beginning_and_end_and_others_beside_it() {
    let source = r"
def evaluate(path):
    huge = 'begin' + 'x' * 100_000_000 + 'end'
    return {'combined_score': 1.0, 'text': 'M' * 3_000_000, 'artifacts': {
        'huge': huge, 'wide': 'W' + '\U0001F40D' * 5_000_000, 'nuls': '\0' * 5_000_000, 'bytes': b'\xff\xfe' * 50_000_000,
        'half': '\ud800', 'last': 'words', 'name' * 100_000: 'n'}}
";
    let settings = format!("python: {{file: evaluator.py}}\nlimits: {{memory_bytes: 2000000000}}\n{SINGLE}");
    let (_folder, evaluator) = evaluator_of(source, &settings).await;
    let report = report(&evaluator, "pass").await;
    assert_eq!(report.outcome.score().map(search::Score::get), Some(1.0), "{}", report.outcome);
    let huge = artifact(&report, "huge");
    assert!(huge.starts_with("beginx") && huge.ends_with("xend") && huge.len() > 1_000_000);
    let kept = huge.matches('x').count();
    assert!(huge.contains(&format!("({} characters left out)", 100_000_000 - kept)), "{kept}");
    for name in ["wide", "nuls", "bytes", "text"] {
        assert!(artifact(&report, name).contains(" left out) ..."), "{name}");
    }
    assert_eq!((artifact(&report, "half"), artifact(&report, "last")), ("?", "words"));
    let bytes: usize =
        report.artifacts.iter().map(|artifact| artifact.name.len() + artifact.content.len()).sum();
    assert!(bytes <= Artifact::ALL + 8 * 4096, "{bytes}");
    assert!(report.artifacts.iter().all(|artifact| artifact.content.len() <= Artifact::LIMIT));
}

#[tokio::test]
async fn artifacts_without_end_are_cut_off_and_their_program_keeps_its_score() {
    let source = "
def evaluate(path):
    return {'combined_score': 1.0, 'artifacts': {'a%d' % n: 'x' * 50 for n in range(300_000)}}
";
    let (_folder, evaluator) =
        evaluator_of(source, &format!("python: {{file: evaluator.py}}\n{SINGLE}")).await;
    let report = report(&evaluator, "pass").await;
    assert_eq!(report.outcome.score().map(search::Score::get), Some(1.0), "{}", report.outcome);
    assert_eq!(report.artifacts.len(), Artifact::COUNT);
}

#[tokio::test]
async fn a_filled_disk_is_emptied_for_the_next_evaluation() {
    let (_folder, evaluator) =
        evaluator_of(EVALUATOR, &format!("{SETTINGS}{SINGLE}sandbox: {{scratch_bytes: 4000000}}\n")).await;
    let fill = "n = 0\nwhile True:\n    os.makedirs('d%d/e' % n, mode=0o000 if n % 2 else 0o700)\n    n += 1\n    with open(os.environ['TMPDIR'] + '/f%d' % n, 'wb') as f: f.write(b'x' * 500_000)";
    let report = costs_one_evaluation(&evaluator, fill).await;
    assert!(
        report.outcome.to_string().contains("No space left")
            || report.outcome.to_string().contains("Permission"),
        "{}",
        report.outcome
    );
    let empty = "return float(len(os.listdir(os.environ['TMPDIR'])))";
    assert_eq!(
        score(&evaluator, empty).await.to_bits(),
        2f64.to_bits(),
        "the program's folder and the one to be in"
    );
    let deep = "for n in range(2000):\n    os.mkdir('d'); os.chdir('d')\nreturn 1.0";
    assert!(costs_one_evaluation(&evaluator, deep).await.outcome.score().is_some());
    assert_eq!(score(&evaluator, empty).await.to_bits(), 2f64.to_bits());
}

#[tokio::test]
async fn the_server_can_be_neither_killed_nor_stopped_nor_read_by_a_program() {
    let (_folder, evaluator) = evaluator().await;
    let first = score(&evaluator, "return os.getppid()").await;
    let lines = "
refused = 0
targets = [os.getppid(), -1, 1, 2]
for target in targets:
    for number in (signal.SIGKILL, signal.SIGSTOP):
        try: os.kill(target, number)
        except OSError: refused += 1
import ctypes, fcntl
libc = ctypes.CDLL(None, use_errno=True)
refused += libc.tkill(os.getppid(), 9) != 0 if hasattr(libc, 'tkill') else libc.syscall(200, os.getppid(), 9) != 0
r, w = os.pipe()
try: fcntl.fcntl(r, 8, os.getppid())
except OSError: refused += 1
for name in ('mem', 'fd/0', 'fd/3', 'fd/4', 'fd/5'):
    for mode in ('rb', 'r+b'):
        flags = os.O_NONBLOCK | (os.O_RDONLY if mode == 'rb' else os.O_RDWR)
        try: os.read(os.open('/proc/%d/%s' % (os.getppid(), name), flags), 1)
        except OSError: refused += 1
return {'combined_score': 1.0, 'refused': refused, 'parent': os.getppid()}";
    let report = costs_one_evaluation(&evaluator, lines.trim_start()).await;
    let measured =
        report.outcome.measured().unwrap_or_else(|| panic!("{} {:?}", report.outcome, report.artifacts));
    assert!((measured.metrics["parent"] - first).abs() < 1e-9, "the same server");
    assert!(measured.metrics["refused"] >= 10.0, "{:?}", measured.metrics);
    assert_eq!(score(&evaluator, "return os.getppid()").await.to_bits(), first.to_bits(), "the same server");
}

#[tokio::test]
async fn a_program_sees_no_other_program_and_can_change_nothing_that_the_next_one_reads() {
    let (folder, evaluator) = evaluator().await;
    let lines = "
import evaluation_module
evaluation_module.evaluate = lambda path: {'combined_score': 99}
for name in ('evaluator.py', evaluation_module.__file__):
    try:
        with open(name, 'a') as file: file.write('oops')
    except OSError: continue
    return 3.0
for name in ('evaluator.py', 'initial.py'):
    try: os.replace(name, 'other'); open(name, 'w').write('oops')
    except OSError: pass
return 1.0 + len(os.listdir('../program'))";
    let before = fs::read(folder.path().join("evaluator.py")).unwrap();
    assert_eq!(score(&evaluator, lines.trim_start()).await.to_bits(), 2f64.to_bits());
    assert_eq!(fs::read(folder.path().join("evaluator.py")).unwrap(), before);
    let there = "return float(open('evaluator.py').read().startswith('\\nimport'))";
    assert_eq!(score(&evaluator, there).await.to_bits(), 1f64.to_bits());
}

#[tokio::test]
async fn one_program_after_the_other_misbehaves_and_nothing_is_left() {
    let sleep = unique_sleep();
    let (folder, evaluator) = evaluator_of(EVALUATOR, &format!("{SETTINGS}{SINGLE}parallel: 2\n")).await;
    let wicked = [
        "time.sleep(1000)".to_owned(),
        "os._exit(3)".to_owned(),
        "os.kill(os.getpid(), 11)".to_owned(),
        format!("subprocess.Popen(['sleep', '{sleep}'], start_new_session=True); os.kill(os.getpid(), 9)"),
        "sys.exit(3)".to_owned(),
        "return {'combined_score': 'high'}".to_owned(),
        "return float('nan')".to_owned(),
        "return None".to_owned(),
        "raise RuntimeError".to_owned(),
        format!("subprocess.Popen(['sleep', '{sleep}'], start_new_session=True); return 1.0"),
        "return 1.0".to_owned(),
    ];
    let jobs = (0..).zip(&wicked).map(|(id, lines)| evaluator.evaluate(job(id, lines)));
    let reports = futures::future::join_all(jobs).await;
    let kinds: Vec<String> =
        reports.into_iter().map(|report| report.unwrap().outcome.kind().to_owned()).collect();
    let expected = [
        "timeout", "crash", "crash", "crash", "crash", "rejected", "rejected", "rejected", "crash",
        "measured", "measured",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(count_processes(&sleep), 0);
    evaluator.shutdown().await;
    assert_eq!(leftovers(&folder.path().join("scratch")), Vec::<String>::new());
}

fn leftovers(scratch: &Path) -> Vec<String> {
    let names = fs::read_dir(scratch).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("evolve-evaluator-")).collect()
}

#[tokio::test]
async fn an_evaluator_that_cant_be_loaded_is_our_error_and_says_what_to_do() {
    for (source, words) in [
        (
            "import no_such_package\ndef evaluate(path): pass",
            ["No module named 'no_such_package'", "install the package"],
        ),
        ("def evaluate(path:", ["SyntaxError", "mend it"]),
        ("x = 1", ["no function `evaluate(program_path)`", "mend it"]),
        ("import os\nos._exit(5)", ["can't be loaded", "exited with code 5"]),
        ("open('/etc/shadow')\ndef evaluate(path): pass", ["can't be loaded", "sandbox: read"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let problem = python_problem(folder.path(), source, SETTINGS);
        let error = Evaluator::spawn(options(folder.path(), problem)).await.unwrap_err();
        assert!(matches!(error, EvaluatorError::Setup(_)), "{error}");
        for words in words {
            assert!(error.to_string().contains(words), "{source}: {error}");
        }
    }
}

/// Every program of this one is as good as every other.
const NOISY: &str =
    "import random\ndef evaluate(path): return {'combined_score': 10 + random.gauss(0, 1), 'x': 1}\n";

/// Of 59 programs as good as the first: how far the luckiest first score lies above the first program's, and how many were asked again.
async fn lucky_draws() -> (f64, usize) {
    let settings = format!("{SETTINGS}parallel: 2\nnoise: {{confirmations: 8}}\n");
    let (_folder, evaluator) = evaluator_of(NOISY, &settings).await;
    let first = evaluator.evaluate(job(0, "pass")).await.unwrap();
    assert_eq!(first.trials.len(), 8);
    let best = first.outcome.measured().unwrap().clone();
    let mean = first.trials.iter().map(|trial| trial.metrics["combined_score"]).sum::<f64>() / 8.0;
    assert!((best.score.get() - mean).abs() < 1e-9 && best.score_error.unwrap() > 0.0, "{best:?}");
    let reports = futures::future::join_all((1..60).map(|id| evaluator.evaluate(job(id, "pass")))).await;
    let (mut luckiest, mut claims, mut asked_again) = (f64::MIN, 0, 0);
    for report in reports {
        let report = report.unwrap();
        let measured = report.outcome.measured().unwrap();
        luckiest = luckiest.max(report.trials[0].metrics["combined_score"]);
        asked_again += usize::from(report.trials.iter().any(|trial| trial.stage == "confirm"));
        let is_claimed = measured.verdict == search::Verdict::Improved;
        claims += usize::from(is_claimed);
        assert!(is_claimed || measured.score <= best.score, "{measured:?}");
    }
    // The chance of a claim is a twentieth, and then it is one.
    assert!(claims <= 1, "{claims} claims");
    (luckiest - best.score.get(), asked_again)
}

#[tokio::test]
async fn among_identical_programs_no_lucky_draw_is_the_champion() {
    // Now and then the first program is so lucky itself that nobody comes near it, which shows nothing.
    let mut rounds = Vec::new();
    while rounds.len() < 3 {
        let (margin, asked_again) = lucky_draws().await;
        assert!(asked_again < 40, "{asked_again} of 59 were asked again");
        if margin > 1.0 && asked_again > 0 {
            return;
        }
        rounds.push((margin, asked_again));
    }
    panic!("in no round did a lucky draw have to be asked again: {rounds:?}");
}

#[tokio::test]
async fn a_search_that_goes_on_knows_its_best_programs_scores() {
    let folder = tempfile::tempdir().unwrap();
    let problem = python_problem(folder.path(), EVALUATOR, SETTINGS);
    let first = Evaluator::spawn(options(folder.path(), problem.clone())).await.unwrap();
    let mut history = evaluator::history::History::default();
    for (id, lines, trials) in [(0, "return 5.0", 2), (1, "return 4.0", 1), (2, "return 6.0", 2)] {
        let report = first.evaluate(job(id, lines)).await.unwrap();
        assert_eq!(report.trials.len(), trials, "{lines}: an evaluator without noise is asked twice at most");
        history.noise.extend(report.noise);
    }
    first.shutdown().await;
    let mut options = options(folder.path(), problem);
    options.history = history;
    let second = Evaluator::spawn(options).await.unwrap();
    let verdict = async |id, lines| {
        let report = second.evaluate(job(id, lines)).await.unwrap();
        report.outcome.measured().unwrap().verdict
    };
    assert_eq!(verdict(3, "return 5.5").await, search::Verdict::Inconclusive);
    assert_eq!(verdict(4, "return 6.5").await, search::Verdict::Improved);
}

#[tokio::test]
async fn each_evaluation_has_fresh_randomness_unless_the_module_sets_a_seed() {
    for (seed, same) in [("", false), ("random.seed(7)", true)] {
        let source = format!(
            "import random\n{seed}\ndef evaluate(path): return {{'combined_score': random.random()}}\n"
        );
        let (_folder, evaluator) = evaluator_of(&source, &format!("{SETTINGS}{SINGLE}")).await;
        let one = score(&evaluator, "pass").await;
        assert_eq!(one.to_bits() == score(&evaluator, "pass").await.to_bits(), same, "seed: {seed:?}");
    }
}

#[tokio::test]
async fn stages_open_by_their_thresholds_and_their_results_are_merged() {
    let source = "
from openevolve.evaluation_result import EvaluationResult
def evaluate(path): return {'combined_score': -1}
def evaluate_stage1(path):
    score = float(open(path).read().split('return ')[1].split()[0])
    return EvaluationResult(metrics={'combined_score': score, 'one': 1}, artifacts={'first': 'a', 'both': 'a'})
def evaluate_stage2(path): return EvaluationResult({'combined_score': 0.8, 'two': 2}, {'both': 'b'})
def evaluate_stage3(path): raise RuntimeError('too hard')
";
    let settings = format!("python: {{file: evaluator.py, thresholds: [0.5, 0.9]}}\n{SINGLE}");
    let (_folder, evaluator) = evaluator_of(source, &settings).await;
    let low = report(&evaluator, "return 0.4").await;
    let measured = low.outcome.measured().unwrap();
    assert_eq!((measured.score.get().to_string(), measured.metrics.len()), ("0.4".to_owned(), 2));
    let high = report(&evaluator, "return 0.5").await;
    let measured = high.outcome.measured().unwrap();
    assert_eq!((measured.score.get().to_string(), measured.metrics.len()), ("0.8".to_owned(), 3));
    assert_eq!((artifact(&high, "first"), artifact(&high, "both")), ("a", "b"));
    let settings = format!("python: {{file: evaluator.py, thresholds: [0.5, 0.7]}}\n{SINGLE}");
    let (_folder, evaluator) = evaluator_of(source, &settings).await;
    let failed = report(&evaluator, "return 0.5").await;
    assert_eq!(failed.outcome.to_string(), "crashed in trial: RuntimeError: too hard in evaluate_stage3");
    assert_eq!((artifact(&failed, "first"), artifact(&failed, "failure_stage")), ("a", "evaluate_stage3"));
    let settings = format!("python: {{file: evaluator.py, cascade: false}}\n{SINGLE}");
    let (_folder, evaluator) = evaluator_of(source, &settings).await;
    assert_eq!(score(&evaluator, "return 0.5").await.to_string(), "-1");
}

#[tokio::test]
async fn numbers_of_any_library_are_numbers_and_everything_else_is_kept_as_text() {
    let source = "
import decimal, fractions
class Scalar:
    shape = ()
    def __init__(self, value): self.value = value
    def item(self): return self.value
def evaluate(path, factor=1):
    return {'combined_score': Scalar(2.5 * factor), 'whole': Scalar(3), 'truth': Scalar(True), 'decimal': decimal.Decimal('1.5'),
            'fraction': fractions.Fraction(1, 4), 'pair': (1, 2), 'inner': {'x': Scalar(1)}, 'nan': float('nan'), 'huge': 10**400,
            'artifacts': {'bytes': b'\\xff', 'object': object, 'none': None}}
";
    let settings = format!("python: {{file: evaluator.py, arguments: {{factor: 2}}}}\n{SINGLE}");
    let (_folder, evaluator) = evaluator_of(source, &settings).await;
    let report = report(&evaluator, "pass").await;
    let measured = report.outcome.measured().unwrap_or_else(|| panic!("{}", report.outcome));
    let metrics: Vec<(&str, f64)> =
        measured.metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let expected =
        [("combined_score", 5.0), ("decimal", 1.5), ("fraction", 0.25), ("truth", 1.0), ("whole", 3.0)];
    assert_eq!(metrics, expected);
    for (name, text) in
        [("pair", "[1,2]"), ("inner", "{\"x\":1}"), ("nan", "nan"), ("bytes", "\u{fffd}"), ("none", "null")]
    {
        assert_eq!(artifact(&report, name), text);
    }
    assert_eq!(artifact(&report, "huge").len(), 401);
}

#[tokio::test]
async fn files_beside_the_evaluator_are_read_by_name_and_hidden_ones_and_keys_are_not_seen() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::write(folder.path().join("data/table.csv"), "1,2,3").unwrap();
    fs::write(folder.path().join("helper.py"), "def add(a, b): return a + b\n").unwrap();
    fs::write(folder.path().join(".env"), "KEY=secret").unwrap();
    let source = "
import os
from helper import add
def evaluate(path):
    numbers = [int(n) for n in open('data/table.csv').read().split(',')]
    with open('result.txt', 'w') as file: file.write('written')
    beside = os.path.dirname(os.path.abspath(__file__))
    seen = [name for name in os.listdir(beside) + os.listdir('.') if name.startswith('.')]
    unexpected = sorted(set(os.environ) - {'PATH', 'HOME', 'TMPDIR', 'LANG', 'LC_CTYPE', 'PWD'})
    unexpected = [name for name in unexpected if not name.startswith('PYTHON')]
    return {'combined_score': add(*numbers[:2]), 'seen': len(seen) + len(unexpected), 'names': str(seen + unexpected)}
";
    let problem = python_problem(folder.path(), source, &format!("{SETTINGS}{SINGLE}"));
    let evaluator = Evaluator::spawn(options(folder.path(), problem)).await.unwrap();
    let report = report(&evaluator, "pass").await;
    let measured = report.outcome.measured().unwrap_or_else(|| panic!("{}", report.outcome));
    assert_eq!((measured.score.get(), measured.metrics["seen"]), (3.0, 0.0), "{:?}", report.artifacts);
    assert!(!folder.path().join("result.txt").exists());
}

/// An evaluator on a system without namespaces, or without any sandbox.
async fn weaker(is_reduced: bool) -> (TempDir, Evaluator) {
    let folder = tempfile::tempdir().unwrap();
    let problem = python_problem(folder.path(), EVALUATOR, &format!("{SETTINGS}{SINGLE}"));
    let mut options = options(folder.path(), problem);
    if is_reduced {
        let launcher = folder.path().join("launcher.sh");
        let script = format!("#!/bin/sh\nexec '{}' --reduced\n", options.launcher.display());
        fs::write(&launcher, script).unwrap();
        fs::set_permissions(&launcher, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        options.launcher = launcher;
    } else {
        options.sandbox = false;
    }
    (folder, Evaluator::spawn(options).await.unwrap())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn without_namespaces_an_evaluation_leaves_nothing_alive_and_nothing_lying_about_either() {
    for is_reduced in [true, false] {
        let (_folder, evaluator) = weaker(is_reduced).await;
        let sleep = unique_sleep();
        let daemon = format!(
            "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: os.execvp('sleep', ['sleep', '{sleep}'])\n    os._exit(0)\n\
             os.wait(); time.sleep(0.1)\nopen(os.environ['TMPDIR'] + '/left', 'w').close()\nreturn 5.0"
        );
        for lines in [daemon.as_str(), "time.sleep(1000)", "os._exit(3)", "sys.exit(3)"] {
            costs_one_evaluation(&evaluator, lines).await;
            assert_eq!(count_processes(&sleep), 0, "reduced: {is_reduced}");
        }
        let left = score(&evaluator, "return float(os.path.exists(os.environ['TMPDIR'] + '/left'))").await;
        assert_eq!(left.to_bits(), 0f64.to_bits(), "reduced: {is_reduced}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_was_killed_is_replaced_and_its_evaluation_done_again() {
    let (_folder, evaluator) = weaker(false).await;
    let lines =
        "if os.path.exists('/proc/%d/cmdline' % os.getppid()): os.kill(os.getppid(), 9)\ntime.sleep(10)";
    let report = costs_one_evaluation(&evaluator, lines).await;
    let Outcome::Crash { message, .. } = &report.outcome else { panic!("{}", report.outcome) };
    assert!(message.contains("the interpreter that holds the evaluator was killed by signal 9"), "{message}");
    assert_eq!(report.trials.len(), 2, "somebody else may have killed it the first time");
}

#[tokio::test]
async fn multiprocessing_works_within_the_limits_of_an_evaluation() {
    let (_folder, evaluator) = evaluator().await;
    let lines = "import multiprocessing\nwith multiprocessing.Pool(2) as pool: return float(sum(pool.map(abs, [-1, -2, 3])))";
    assert_eq!(score(&evaluator, lines).await.to_bits(), 6f64.to_bits());
}

#[tokio::test]
async fn a_module_that_forks_would_break_is_loaded_by_each_evaluation_itself() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tensorflow.py"), "").unwrap();
    let source = "
import os, tensorflow
LOADED_BY = os.getpid()
def evaluate(path): return {'combined_score': LOADED_BY == os.getpid() and 2.0 or 1.0}
";
    let problem = python_problem(folder.path(), source, &format!("{SETTINGS}{SINGLE}"));
    let evaluator = Evaluator::spawn(options(folder.path(), problem)).await.unwrap();
    let why = evaluator.measured_by().parameters["python"]["cold"].as_str().unwrap().to_owned();
    assert!(why.contains("TensorFlow"), "{why}");
    assert_eq!(score(&evaluator, "pass").await.to_bits(), 2f64.to_bits());
}
