//! The trainer against runs that MLX-LM recorded (tests/parity/README.md).
#![allow(clippy::unwrap_used, reason = "tests, also their helpers")]

use std::path::{Path, PathBuf};

use trainer::parity::{Verdict, compare, find_runs};

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity")
}

#[test]
fn every_recorded_lora_run_is_reproduced() {
    let runs = find_runs(&recorded()).unwrap();
    assert!(runs.len() >= 2, "the recorded runs are missing: {runs:?}");
    for run in runs {
        match compare(&run).unwrap() {
            Verdict::Compared(worst) => assert!(worst.passed(), "{}: {worst:?}", run.display()),
            Verdict::Skipped(why) => panic!("{} skipped: {why}", run.display()),
        }
    }
}

#[test]
fn a_run_with_other_numbers_fails() {
    let copy = tempfile::tempdir().unwrap();
    copy_tree(&recorded().join("qwen2-bf16-h64-8bit"), copy.path());
    let expected = copy.path().join("lora-adamw/expected.json");
    let text = std::fs::read_to_string(&expected).unwrap();
    std::fs::write(&expected, text.replace("\"learning_rate\": 0.001", "\"learning_rate\": 0.01")).unwrap();
    let Verdict::Compared(worst) = compare(&copy.path().join("lora-adamw")).unwrap() else {
        panic!("skipped")
    };
    assert!(!worst.passed(), "{worst:?}");
}

#[test]
fn a_dora_run_is_skipped_by_name() {
    let run = tempfile::tempdir().unwrap();
    let json = r#"{"kind": "dora", "optimizer": "adam", "num_layers": 1, "rank": 1, "scale": 1.0,
                   "learning_rate": 1.0, "losses": []}"#;
    std::fs::write(run.path().join("expected.json"), json).unwrap();
    assert_eq!(compare(run.path()).unwrap(), Verdict::Skipped("dora not built yet".into()));
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
