//! An evaluator in Python, forked from a warmed interpreter, beside the same one started anew for every program by a command.
//!
//! `cargo bench -p evaluator --bench python -- WORKERS PROGRAMS`; alternating rounds, so that the machine's mood hits both.

#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use evaluator::{Evaluator, EvaluatorOptions, Job, LoadedProblem, Purpose};
use futures::StreamExt;
use tempfile::TempDir;

/// Imports what evaluators import.
const EVALUATOR: &str = "
import importlib.util, json, os, random, statistics, subprocess, sys, tempfile, time, traceback

def evaluate(path):
    with open(path) as file:
        return {'combined_score': len(file.read())}

if __name__ == '__main__':
    print(json.dumps(evaluate(sys.argv[1])))
";

const ROUNDS: usize = 3;

#[tokio::main]
async fn main() -> Result<()> {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let workers = numbers.first().copied().unwrap_or(2);
    let programs = numbers.get(1).copied().unwrap_or(200);
    let (_warmed_folder, warmed) = evaluator("python: {file: evaluator.py}", workers).await?;
    let (_anew_folder, anew) = evaluator("command: [python3, evaluator.py]", workers).await?;
    let (mut warmed_rate, mut anew_rate) = (0.0_f64, 0.0_f64);
    for round in 0..ROUNDS {
        let first = (2 * round * programs) as u64;
        anew_rate = anew_rate.max(rate(&anew, workers, first, programs / 4).await?);
        warmed_rate = warmed_rate.max(rate(&warmed, workers, first, programs).await?);
    }
    println!("{workers} workers, a trivial evaluator, the best of {ROUNDS} rounds:");
    println!("  forked from a warmed interpreter  {warmed_rate:.0} a second");
    println!("  an interpreter for each program   {anew_rate:.0} a second");
    println!("  ratio                             {:.1}", warmed_rate / anew_rate);
    warmed.shutdown().await;
    anew.shutdown().await;
    Ok(())
}

async fn evaluator(method: &str, workers: usize) -> Result<(TempDir, Evaluator)> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("evaluator.py"), EVALUATOR)?;
    std::fs::write(folder.path().join("initial.py"), program(0))?;
    let problem = format!(
        "kind: command\nname: bench\nlanguage: python\ninitial_program: initial.py\n{method}\nparallel: {workers}\n\
         noise: {{confirmations: 0}}\n"
    );
    std::fs::write(folder.path().join("problem.yaml"), problem)?;
    let problem = LoadedProblem::load(folder.path())?;
    let binaries = Path::new(env!("CARGO_BIN_EXE_evolve-evaluator")).parent().context("no folder")?;
    let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
    let options = EvaluatorOptions::new(binaries, problem, path, folder.path().to_owned());
    Ok((folder, Evaluator::spawn(options).await?))
}

/// Evaluations a second.
async fn rate(evaluator: &Evaluator, workers: usize, first: u64, count: usize) -> Result<f64> {
    let started = Instant::now();
    let jobs = (first..).take(count).map(|id| {
        evaluator.evaluate(Job { id, program: program(id), kernel: String::new(), purpose: Purpose::Search })
    });
    let mut reports = futures::stream::iter(jobs).buffer_unordered(workers * 2);
    while let Some(report) = reports.next().await {
        report?.outcome.score().context("no score")?;
    }
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

/// One and a half kilobytes.
fn program(number: u64) -> String {
    let filling = "# a line of forty characters or so......\n".repeat(36);
    format!("# EVOLVE-BLOCK-START\nx = {number}\n{filling}# EVOLVE-BLOCK-END\n")
}
