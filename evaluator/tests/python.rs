//! Evaluators in Python, from end to end: the contract, and programs that misbehave, in the real sandbox.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod support;

use std::fs;
use std::path::Path;

use evaluator::trial::Exit;
use evaluator::{EvaluationReport, Evaluator, EvaluatorError, Job, Purpose};
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

async fn evaluator_of(evaluator: &str, settings: &str) -> (TempDir, Evaluator) {
    let folder = tempfile::tempdir().unwrap();
    let problem = python_problem(folder.path(), evaluator, settings);
    let evaluator = Evaluator::spawn(options(folder.path(), problem)).await.unwrap();
    (folder, evaluator)
}

async fn evaluator() -> (TempDir, Evaluator) {
    evaluator_of(EVALUATOR, SETTINGS).await
}

/// A program whose `answer` has these lines.
fn job(id: u64, lines: &str) -> Job {
    let body: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    let program = script(&format!("import os, signal, subprocess, sys, time\ndef answer():\n{body}"));
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
