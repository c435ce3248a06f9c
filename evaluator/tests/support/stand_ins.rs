//! Kernel problems with stand-ins for `rustc`, the trial runner and the grader.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use evaluator::history::History;
use evaluator::{Evaluator, EvaluatorError, Job, LoadedProblem, Purpose};
use serde_json::json;

use super::options;

/// By the fixed protocol.
pub(crate) const FIXED: &str = "
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
protocol: fixed
";

pub(crate) fn program(orders: &str) -> String {
    format!("// EVOLVE-BLOCK-START\n{orders}\n// EVOLVE-BLOCK-END\npub fn build() {{}}\n")
}

pub(crate) fn job(orders: &str) -> Job {
    Job { id: 1, program: program(orders), kernel: "hash of it".to_owned(), purpose: Purpose::Search }
}

fn executable(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// An evaluator whose harness are the stand-ins, for a problem in YAML.
pub(crate) async fn start(folder: &Path, problem: &str, initial: &str) -> Result<Evaluator, EvaluatorError> {
    resume(folder, problem, initial, History::default()).await
}

/// The same for a run with a past.
pub(crate) async fn resume(
    folder: &Path,
    problem: &str,
    initial: &str,
    history: History,
) -> Result<Evaluator, EvaluatorError> {
    fs::write(folder.join("initial.rs"), initial).unwrap();
    fs::write(folder.join("problem.yaml"), problem).unwrap();
    if !folder.join("data.jsonl").exists() {
        fs::write(folder.join("data.jsonl"), json!({"text": "held out"}).to_string()).unwrap();
    }
    let harness = json!({
        "protocol": trial_protocol::PROTOCOL,
        "runner": executable(folder, "runner", include_str!("../data/fake_runner.py")),
        "grader": executable(folder, "grader", include_str!("../data/fake_grader.py")),
        "kernel_api": executable(folder, "libkernel_api.so", ""),
        "dependencies": [folder],
        "libraries": [folder],
        "rustc": executable(folder, "rustc", include_str!("../data/fake_rustc.sh")),
        "rustc_version": "rustc 1.95.0",
        "reference": folder.join("reference.md"),
        "description": {"harness": "0.1", "mlx": "0.32", "backend": "cpu", "device": "a processor"},
    });
    fs::write(folder.join("harness.json"), harness.to_string()).unwrap();
    let mut options = options(folder, LoadedProblem::load(folder).unwrap());
    options.harness = Some(folder.join("harness.json"));
    options.sandbox = false;
    options.history = history;
    Evaluator::spawn(options).await
}
