//! The folders under `examples/` run as their README says, without a key.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::text;

/// A copy, so that nothing is written into the checkout.
fn copy(example: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example);
    copy_folder(&source, folder.path());
    folder
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Runs the example's own command for a few proposals: each has its outcome, and the initial program is measured.
fn run(example: &str, command: &[&str], database: &str) {
    let folder = copy(example);
    let evolve = |arguments: &[&str]| {
        let output = Command::new(common::evolve())
            .args(arguments)
            .current_dir(folder.path())
            .env_remove("OPENAI_API_KEY")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "evolve {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let iterations = if std::env::var_os("EVOLVE_TEST_FULL").is_some() { "40" } else { "4" };
    evolve(&[command, &["--iterations", iterations]].concat());
    let sql = "select count(*), min(case number when 0 then kind end) from outcome";
    let counted = evolve(&["query", "--db", database, "--sql", sql, "--format", "csv"]);
    let expected = format!("{},measured", iterations.parse::<u32>().unwrap() + 1);
    assert_eq!(counted.lines().last(), Some(&*expected));
}

const CALL: [&str; 7] =
    ["run", "initial_program.py", "evaluator.py", "--config", "config.yaml", "--proposer", "rewrite"];

#[test]
fn minimize_runs() {
    run("minimize", &CALL, "openevolve_output/evolve.db");
}

#[test]
fn circle_packing_runs() {
    run("circle_packing", &CALL, "openevolve_output/evolve.db");
}

#[test]
fn sql_filter_runs() {
    run("sql_filter", &["run"], "sql_filter.db");
}

#[test]
fn adaptive_sort_runs() {
    // Compiles each candidate.
    run("adaptive_sort", &["run"], "adaptive_sort.db");
}

#[test]
fn every_example_has_its_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let examples: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    assert_eq!(examples.len(), 4);
    for example in examples {
        for file in ["README.md", "config.yaml"] {
            assert!(example.join(file).is_file(), "{}: {file}", example.display());
        }
    }
}
