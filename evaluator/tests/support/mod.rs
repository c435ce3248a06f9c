//! What several tests need: finding processes, waiting for something to become true.

#![allow(dead_code, reason = "each test file uses another part")]

pub(crate) mod stand_ins;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A number of seconds to sleep that no other process uses, so that the sleeper can be found.
pub(crate) fn unique_sleep() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("7{:07}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Processes whose command line contains a text.
pub(crate) fn count_processes(text: &str) -> usize {
    if Path::new("/proc/self/cmdline").exists() {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let command_lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        return command_lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count();
    }
    let listing = Command::new("ps").args(["-axo", "command"]).output().unwrap().stdout;
    String::from_utf8_lossy(&listing).lines().filter(|line| line.contains(text)).count()
}

/// Waits until a condition holds, at most ten seconds.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(10), "never happened: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The same without blocking the runtime.
pub(crate) async fn eventually_async(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(10), "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn kill_9(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
}

/// A command problem whose programs are shell scripts that print their own metrics. Each is evaluated once.
pub(crate) fn command_problem(folder: &Path, settings: &str) -> evaluator::LoadedProblem {
    std::fs::write(folder.join("evaluate.sh"), "exec sh \"$1\"\n").unwrap();
    std::fs::write(folder.join("initial.sh"), script("echo '{\"score\": 1}'")).unwrap();
    let yaml = format!(
        "kind: command\nname: test\nlanguage: other\ninitial_program: initial.sh\ncommand: [sh, evaluate.sh]\nnoise: {{confirmations: 0}}\n{settings}"
    );
    std::fs::write(folder.join("problem.yaml"), yaml).unwrap();
    evaluator::LoadedProblem::load(folder).unwrap()
}

/// A program for [`command_problem`].
pub(crate) fn script(lines: &str) -> String {
    format!("# EVOLVE-BLOCK-START\n{lines}\n# EVOLVE-BLOCK-END\n")
}

/// The harness that `make mlx` leaves. None where MLX is not set up, which is said where even captured tests are heard.
pub(crate) fn harness() -> Option<PathBuf> {
    let harness = Path::new(env!("CARGO_MANIFEST_DIR")).join("mlx/harness.json");
    if !harness.exists() {
        let notice =
            format!("\n*** SKIPPED: no {}; run `make mlx` to test real kernels ***\n", harness.display());
        std::io::stderr().write_all(notice.as_bytes()).unwrap();
        return None;
    }
    Some(harness)
}

/// Options that use the binaries under test and keep all files within a folder.
pub(crate) fn options(folder: &Path, problem: evaluator::LoadedProblem) -> evaluator::EvaluatorOptions {
    let scratch = folder.join("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_evolve-evaluator")).parent().unwrap();
    let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
    evaluator::EvaluatorOptions::new(binaries, problem, path, scratch)
}

/// Evaluator processes that are children of this test process, whose scratch folder is within `folder`.
#[cfg(target_os = "linux")]
pub(crate) fn evaluator_processes(folder: &Path) -> Vec<u32> {
    let children = evaluator::descendants::children(rustix::process::getpid());
    let pids = children.into_iter().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    let is_ours = |pid: &u32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut targets = files.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        targets.any(|target| target.starts_with(folder))
    };
    pids.filter(is_ours).collect()
}

/// A command problem with an evaluator in Python.
pub(crate) fn python_problem(folder: &Path, evaluator: &str, settings: &str) -> evaluator::LoadedProblem {
    std::fs::write(folder.join("evaluator.py"), evaluator).unwrap();
    std::fs::write(folder.join("initial.py"), script("def answer():\n    return 1.0")).unwrap();
    let yaml =
        format!("kind: command\nname: test\nlanguage: python\ninitial_program: initial.py\n{settings}");
    std::fs::write(folder.join("problem.yaml"), yaml).unwrap();
    evaluator::LoadedProblem::load(folder).unwrap()
}
