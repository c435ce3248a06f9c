//! The kernels that are kept as champions, through all fences of their own problems on this machine. `make mlx` sets it up; without it
//! these tests say so and pass.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use evaluator::{Evaluator, Job, LoadedProblem, Purpose};
use support::{harness, options};

fn champions(problem: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(problem.join("champions")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    files
}

async fn all_pass(problem: &str, least: usize) {
    let Some(harness) = harness() else { return };
    let problem = Path::new(env!("CARGO_MANIFEST_DIR")).join("../problems").join(problem);
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), LoadedProblem::load(&problem).unwrap());
    options.harness = Some(harness);
    let evaluator = Evaluator::spawn(options).await.unwrap();
    let files = champions(&problem);
    assert!(files.len() >= least, "{files:?}");
    for (id, file) in (1..).zip(files) {
        let program = fs::read_to_string(&file).unwrap();
        let job = Job { id, program, kernel: "0123abcd".to_owned(), purpose: Purpose::Screen };
        let outcome = evaluator.evaluate(job).await.unwrap().outcome;
        assert!(outcome.measured().is_some(), "{}: {outcome}", file.display());
    }
}

#[tokio::test]
async fn every_lora_champion_passes_gate_checks_canary_and_judge() {
    all_pass("quantized-lora", 3).await;
}

#[tokio::test]
async fn every_dora_champion_passes_gate_checks_canary_and_judge() {
    all_pass("quantized-dora", 4).await;
}
