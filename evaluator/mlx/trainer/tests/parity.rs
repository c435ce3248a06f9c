//! The trainer against runs that MLX-LM recorded (tests/parity/README.md).
#![allow(clippy::unwrap_used, reason = "tests, also their helpers")]

use std::path::{Path, PathBuf};

use trainer::parity::{compare, find_runs};

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity")
}

#[test]
fn every_recorded_run_is_reproduced() {
    let runs = find_runs(&recorded()).unwrap();
    for kind in ["lora-", "dora-"] {
        let is_kind =
            |run: &&PathBuf| run.file_name().is_some_and(|name| name.to_string_lossy().starts_with(kind));
        assert!(runs.iter().filter(is_kind).count() >= 2, "recorded runs of {kind} are missing: {runs:?}");
    }
    for run in runs {
        let worst = compare(&run).unwrap();
        assert!(worst.passed(), "{}: {worst:?}", run.display());
    }
}

#[test]
fn a_run_with_other_numbers_fails() {
    let copy = tempfile::tempdir().unwrap();
    copy_tree(&recorded().join("qwen2-bf16-h64-8bit"), copy.path());
    let expected = copy.path().join("lora-adamw/expected.json");
    let text = std::fs::read_to_string(&expected).unwrap();
    std::fs::write(&expected, text.replace("\"learning_rate\": 0.001", "\"learning_rate\": 0.01")).unwrap();
    let worst = compare(&copy.path().join("lora-adamw")).unwrap();
    assert!(!worst.passed(), "{worst:?}");
}

#[test]
fn a_run_of_another_kind_is_an_error() {
    let run = tempfile::tempdir().unwrap();
    let json = r#"{"kind": "full", "optimizer": "adam", "num_layers": 1, "rank": 1, "scale": 1.0,
                   "learning_rate": 1.0, "losses": []}"#;
    std::fs::write(run.path().join("expected.json"), json).unwrap();
    let error = compare(run.path()).unwrap_err().to_string();
    assert!(error.contains("kind `full`") && error.contains("`dora`"), "{error}");
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::write(target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}
