//! What the evaluator costs beside what it measures. `cargo bench -p evaluator` prints:
//!
//! - the overhead of one evaluation: a command problem whose command does next to nothing;
//! - with the MLX harness, side by side with and without the sandbox: the time to compile a candidate, a trial's own time, and
//!   the time from a candidate's source to its first trial's result.

#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use evaluator::{Evaluator, EvaluatorOptions, Event, Job, LoadedProblem, Purpose};
use search::Stage;

const EVALUATIONS: u64 = 50;
const COMPILES: u64 = 20;
const FIRST_TRIALS: u64 = 3;
const TRIALS: u64 = 15;

fn main() -> Result<()> {
    // `cargo test --all-targets` runs benchmarks too, with this argument and only to see that they work.
    let is_test = std::env::args().any(|argument| argument == "--test");
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        overhead(if is_test { 1 } else { EVALUATIONS }).await?;
        if !is_test {
            kernel().await?;
        }
        Ok(())
    })
}

fn options(folder: &Path, problem: LoadedProblem) -> Result<EvaluatorOptions> {
    let binaries = Path::new(env!("CARGO_BIN_EXE_evolve-evaluator")).parent().context("no folder")?;
    let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
    Ok(EvaluatorOptions::new(binaries, problem, path, folder.to_owned()))
}

async fn overhead(evaluations: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let program =
        |number| format!("# EVOLVE-BLOCK-START\necho '{{\"score\": {number}}}'\n# EVOLVE-BLOCK-END\n");
    fs::write(folder.path().join("initial.sh"), program(0))?;
    let yaml = "kind: command\nname: bench\nlanguage: other\ninitial_program: initial.sh\ncommand: [sh]\n";
    fs::write(folder.path().join("problem.yaml"), yaml)?;
    let evaluator = Evaluator::spawn(options(folder.path(), LoadedProblem::load(folder.path())?)?).await?;
    let mut times = Vec::new();
    for id in 0..evaluations {
        let started = Instant::now();
        let report = evaluator
            .evaluate(Job { id, program: program(id), kernel: String::new(), purpose: Purpose::Search })
            .await?;
        let command = report.trials.first().and_then(|trial| trial.wall_seconds).unwrap_or_default();
        times.push(started.elapsed().as_secs_f64() - command);
    }
    print("evaluator overhead per evaluation", &mut times, "ms beside the command's own time");
    evaluator.shutdown().await;
    Ok(())
}

async fn kernel() -> Result<()> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let harness: PathBuf = manifest.join("mlx/harness.json");
    let problem = manifest.join("../problems/quantized-lora");
    if !harness.exists() {
        println!("compile and trial times: skipped, run `make mlx` first");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let loaded = LoadedProblem::load(&problem)?;
    let initial = loaded.initial.clone();
    let mut options = options(folder.path(), loaded)?;
    options.harness = Some(harness);
    let confined = Evaluator::spawn(options.clone()).await?;
    println!("the sandbox: {:?}", confined.measured_by().sandbox);
    options.sandbox = false;
    let bare = Evaluator::spawn(options).await?;
    // A new comment within the block is new code to the compiler's cache.
    let job = |id: u64, purpose: Purpose| {
        let start =
            initial.find("EVOLVE-BLOCK-START").and_then(|at| Some(at + initial[at..].find('\n')? + 1));
        let (head, tail) = initial.split_at(start.unwrap_or_default());
        Job { id, program: format!("{head}// {id}\n{tail}"), kernel: format!("bench{id}"), purpose }
    };
    let both = [&confined, &bare];
    let mut compiles = [Vec::new(), Vec::new()];
    for id in 0..COMPILES {
        for (evaluator, compiles) in both.into_iter().zip(&mut compiles) {
            let is_it = |event: &Event| matches!(event, Event::Entered { stage: Stage::Check });
            compiles.push(until(evaluator, job(id, Purpose::Search), is_it).await?);
        }
    }
    compare("compile a candidate", compiles, 1.5);
    let mut trials = [Vec::new(), Vec::new()];
    for id in COMPILES..COMPILES + TRIALS {
        for (evaluator, trials) in both.into_iter().zip(&mut trials) {
            let report = evaluator.evaluate(job(id, Purpose::Screen)).await?;
            let trial = report.trials.first().and_then(|trial| trial.wall_seconds);
            trials.push(trial.with_context(|| report.outcome.to_string())?);
        }
    }
    compare("a trial's own time", trials, 1.02);
    let mut firsts = Vec::new();
    for id in COMPILES + TRIALS..COMPILES + TRIALS + FIRST_TRIALS {
        let is_it = |event: &Event| matches!(event, Event::TrialEnded { .. });
        firsts.push(until(&confined, job(id, Purpose::Search), is_it).await?);
    }
    print("candidate's source to first trial's result", &mut firsts, "ms");
    confined.shutdown().await;
    bare.shutdown().await;
    Ok(())
}

/// Prints both and their ratio.
fn compare(what: &str, [mut confined, mut bare]: [Vec<f64>; 2], goal: f64) {
    print(&format!("{what} in the sandbox"), &mut confined, "ms");
    print(&format!("{what} without it"), &mut bare, "ms");
    let ratio = median(&confined) / median(&bare);
    println!("{what}: the sandbox costs {ratio:.3} times the bare one (goal: at most {goal})");
}

/// Of sorted times.
fn median(seconds: &[f64]) -> f64 {
    seconds[(seconds.len() - 1) / 2]
}

/// Seconds until a job's event; the rest of the job is cancelled.
async fn until(evaluator: &Evaluator, job: Job, is_it: impl Fn(&Event) -> bool) -> Result<f64> {
    let mut events = evaluator.events();
    let id = job.id;
    let started = Instant::now();
    let mut evaluation = std::pin::pin!(evaluator.evaluate(job));
    loop {
        tokio::select! {
            progress = events.recv() => {
                let progress = progress?;
                if progress.id == id && is_it(&progress.event) {
                    return Ok(started.elapsed().as_secs_f64());
                }
            }
            report = &mut evaluation => anyhow::bail!("the evaluation ended early: {}", report?.outcome),
        }
    }
}

fn print(what: &str, seconds: &mut [f64], unit: &str) {
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| seconds[((seconds.len() - 1) as f64 * share).round() as usize] * 1000.0;
    println!("{what}: median {:.1}, 10 % {:.1}, 90 % {:.1} {unit}", at(0.5), at(0.1), at(0.9));
    // Nothing is lost if the reader has gone.
    let _ = std::io::stdout().flush();
}
