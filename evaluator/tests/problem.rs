//! Reading `problem.yaml`.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::fs;

use evaluator::LoadedProblem;
use evaluator::problem::{Metric, Problem, ProtocolSettings};
use search::Language;
use trial_protocol::{AdapterKind, Model};

const KERNEL: &str = "\
kind: kernel
name: test
initial_program: initial.rs
objectives:
  - {metric: tokens_per_second, weight: 0.6}
model: {folder: model}
training: {num_layers: 2, rank: 4, scale: 10.0, learning_rate: 0.001, optimizer: adam, batch_size: 1, \
sequence_length: 8, iterations: 2, warmup_iterations: 1, validation_batches: 1, data: data.jsonl}
";

const COMMAND: &str = "\
kind: command
name: test
language: python
initial_program: initial.py
command: [python3, evaluator.py, --fast]
";

fn load(yaml: &str) -> Result<LoadedProblem, String> {
    let folder = tempfile::tempdir().unwrap();
    let block = "# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-END\n";
    for name in ["initial.rs", "initial.py", "evaluator.py", "python3"] {
        fs::write(folder.path().join(name), block).unwrap();
    }
    fs::write(folder.path().join("plain.py"), "x = 1\n").unwrap();
    fs::write(folder.path().join("problem.yaml"), yaml).unwrap();
    LoadedProblem::load(folder.path()).map_err(|error| error.to_string())
}

#[test]
fn a_short_kernel_problem_has_sensible_defaults_and_absolute_paths() {
    let Problem::Kernel(problem) = load(KERNEL).unwrap().problem else { panic!("not a kernel") };
    assert_eq!((problem.language, problem.objectives[0].metric), (Language::Rust, Metric::TokensPerSecond));
    assert!(problem.training.data.is_absolute() && problem.initial_program.is_absolute());
    assert!((problem.constraints.loss - 0.01).abs() < 1e-12 && problem.checks.cases.len() == 7);
    assert!(problem.checks.error_budget > 1.0 && problem.checks.secret_cases >= 4);
    let ProtocolSettings::RaceConfirm(race) = &problem.protocol else { panic!("not race-confirm") };
    assert_eq!((race.calibration, race.screen_trials, race.max_pairs, race.promote), (6, 3, 24, true));
}

#[test]
fn a_protocol_is_named_alone_or_with_what_differs() {
    let read = |words: &str| {
        let loaded = load(&format!("{KERNEL}protocol: {words}\n")).unwrap();
        // As it goes to the evaluator's process.
        let json = serde_json::to_string(&loaded).unwrap();
        assert_eq!(serde_json::from_str::<LoadedProblem>(&json).unwrap(), loaded);
        let Problem::Kernel(problem) = loaded.problem else { panic!("not a kernel") };
        problem.protocol
    };
    assert_eq!(read("race-confirm"), ProtocolSettings::default());
    let ProtocolSettings::Fixed(fixed) = read("fixed") else { panic!("not fixed") };
    assert_eq!((fixed.trials, fixed.baseline_seed, fixed.candidate_seed), (5, 42, 100));
    let ProtocolSettings::FixedSeed7(seed7) = read("{fixed-seed7: {baseline_seed: 1}}") else {
        panic!("not fixed-seed7")
    };
    assert_eq!((seed7.trials, seed7.baseline_seed, seed7.candidate_seed), (7, 1, 100));
    let ProtocolSettings::RaceConfirm(race) = read("{race-confirm: {max_pairs: 12}}") else {
        panic!("no race")
    };
    assert_eq!((race.max_pairs, race.min_pairs), (12, 6));
}

#[test]
fn default_checks_cover_what_they_must() {
    let Problem::Kernel(problem) = load(KERNEL).unwrap().problem else { panic!("not a kernel") };
    let cases = &problem.checks.cases;
    let has = |group_size, bits| {
        cases.iter().any(|c| c.quantization.is_some_and(|q| (q.group_size, q.bits) == (group_size, bits)))
    };
    assert!(has(32, 4) && has(64, 4) && has(32, 8) && has(64, 8));
    assert!(cases.iter().any(|c| c.bias) && cases.iter().any(|c| !c.bias));
    assert!(cases.iter().any(|c| c.quantization.is_none()));
    // MLX packs whole groups only.
    for case in cases {
        assert!(case.quantization.is_none_or(|q| case.input % q.group_size == 0), "{case:?}");
    }
}

#[test]
fn a_commands_files_are_found_in_its_folder_but_its_program_in_path() {
    let loaded = load(COMMAND).unwrap();
    let Problem::Command(problem) = &loaded.problem else { panic!("not a command") };
    let script = loaded.folder.join("evaluator.py").display().to_string();
    assert_eq!(problem.command, ["python3", script.as_str(), "--fast"]);
}

#[test]
fn mistakes_are_errors_with_the_place() {
    for (yaml, words) in [
        (KERNEL.replace("objectives", "objektives"), &["objektives", "line"][..]),
        (KERNEL.replace("weight: 0.6", "weight: heavy"), &["line 5"]),
        (KERNEL.replace("weight: 0.6", "weigth: 0.6"), &["weigth", "line 5"]),
        (KERNEL.replace("tokens_per_second", "speed"), &["speed", "tokens_per_second", "line 5"]),
        (KERNEL.replace("rank: 4", "ranks: 4"), &["ranks"]),
        (KERNEL.replace("weight: 0.6", "weight: -1"), &["weight of tokens_per_second", "above 0"]),
        (KERNEL.replace("kind: kernel", "kind: kernal"), &["kernal", "kind: command"]),
        (KERNEL.replace("kind: kernel\n", ""), &["`kind` is missing"]),
        (KERNEL.replace("name: test\n", ""), &["name"]),
        (format!("{KERNEL}limits: {{trial_seconds: 0}}\n"), &["trial_seconds", "above 0"]),
        (format!("{KERNEL}limits: {{memory_bytes: 16}}\n"), &["memory_bytes", "counts bytes"]),
        (format!("{KERNEL}protocol: {{fixed: {{trials: 1}}}}\n"), &["trials", "2"]),
        (format!("{KERNEL}checks: {{tolerance: 0.1}}\n"), &["tolerance", "error_budget"]),
        (format!("{KERNEL}checks: {{error_budget: 0}}\n"), &["error_budget", "above 0"]),
        (format!("{KERNEL}checks: {{secret_cases: 1000}}\n"), &["secret_cases", "100"]),
        (format!("{KERNEL}protocol: {{race: {{}}}}\n"), &["race", "race-confirm"]),
        (format!("{KERNEL}protocol: {{fixed: {{}}, fixed-seed7: {{}}}}\n"), &["fixed-seed7", "two"]),
        (format!("{KERNEL}protocol: {{fixed: {{trails: 6}}}}\n"), &["trails", "trials"]),
        (format!("{KERNEL}protocol: seed7\n"), &["seed7", "fixed-seed7"]),
        (
            format!("{KERNEL}protocol: {{race-confirm: {{alpha: 1.5}}}}\n"),
            &["race-confirm: alpha", "below 1"],
        ),
        (format!("{KERNEL}protocol: {{race-confirm: {{slow: 0.5}}}}\n"), &["race-confirm: slow", "above 1"]),
        (format!("{KERNEL}protocol: {{race-confirm: {{max_pairs: 4}}}}\n"), &["min_pairs", "max_pairs"]),
        (format!("{KERNEL}protocol: {{race-confirm: {{max_pairs: 9}}}}\n"), &["max_pairs", "at least 10"]),
        (format!("{KERNEL}protocol: {{race-confirm: {{bet: 0}}}}\n"), &["race-confirm: bet", "above 0"]),
        (format!("{KERNEL}language: python\n"), &["language: rust"]),
        (KERNEL.replace("initial.rs", "absent.rs"), &["absent.rs can't be read"]),
        (COMMAND.replace("initial.py", "plain.py"), &["plain.py", "no EVOLVE-BLOCK"]),
        (COMMAND.replace("[python3, evaluator.py, --fast]", "[]"), &["neither `command` nor `python`"]),
        (format!("{COMMAND}parallel: 0\n"), &["parallel"]),
        (format!("{COMMAND}timeout: 5\n"), &["timeout"]),
        ("kind: [".to_owned(), &["problem.yaml"]),
        (String::new(), &["problem.yaml"]),
    ] {
        let error = load(&yaml).expect_err(&yaml);
        for word in words {
            assert!(error.contains(word), "`{word}` is not in: {error}\n{yaml}");
        }
    }
}

#[test]
fn a_missing_problem_is_said_with_its_path() {
    let error = LoadedProblem::load(std::path::Path::new("/no/such/problem.yaml")).unwrap_err().to_string();
    assert!(error.starts_with("/no/such/problem.yaml can't be read"), "{error}");
}

#[test]
fn the_problems_that_come_with_evolve_load_and_say_what_they_train() {
    let problems = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../problems");
    let files = [
        ("quantized-lora", AdapterKind::Lora, false),
        ("quantized-dora", AdapterKind::Dora, false),
        ("quantized-lora/wide.yaml", AdapterKind::Lora, false),
        ("quantized-dora/wide.yaml", AdapterKind::Dora, false),
        ("quantized-dora/qwen2.5-0.5b.yaml", AdapterKind::Dora, true),
        ("quantized-dora/qwen2.5-0.5b-gpu.yaml", AdapterKind::Dora, true),
        ("quantized-lora/qwen2.5-0.5b-gpu.yaml", AdapterKind::Lora, true),
    ];
    for (name, kind, has_real_shapes) in files {
        let Problem::Kernel(problem) = LoadedProblem::load(&problems.join(name)).unwrap().problem else {
            panic!("{name} is not a kernel")
        };
        assert_eq!(problem.training.fine_tune_type, kind, "{name}");
        assert_eq!(matches!(problem.model, Model::Shapes(_)), has_real_shapes, "{name}");
        assert!(problem.training.data.is_file(), "{name}: {}", problem.training.data.display());
    }
}

#[test]
fn a_path_that_leads_up_is_made_one_that_a_sandbox_takes() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("below");
    fs::create_dir(&below).unwrap();
    fs::write(folder.path().join("data.jsonl"), "").unwrap();
    fs::write(below.join("initial.rs"), "# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-END\n").unwrap();
    fs::write(below.join("problem.yaml"), KERNEL.replace("data: data.jsonl", "data: ../data.jsonl")).unwrap();
    let Problem::Kernel(problem) = LoadedProblem::load(&below).unwrap().problem else { panic!() };
    assert_eq!(problem.training.data, folder.path().canonicalize().unwrap().join("data.jsonl"));
}
