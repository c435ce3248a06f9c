//! `evolve doctor --attacks`: runs the attack suite against this machine's sandbox and judge.

mod decoys;
mod show;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use evaluator::history::History;
use evaluator::order::Tier;
use evaluator::suite::{self, Case, Finding};
use evaluator::{Evaluator, Job, LoadedProblem, Purpose};
use futures::StreamExt as _;
use search::token_hash;
use serde::Serialize;

use self::decoys::Decoys;
use super::open;
use crate::cli::{AttackArgs, Overrides};
use crate::config::Config;
use crate::exit_code::{ExitCode, Failure};

/// What became of one case.
#[derive(Debug, Serialize)]
struct Row {
    case: String,
    title: Option<String>,
    honest: bool,
    expected: Option<suite::Fence>,
    #[serde(flatten)]
    finding: Finding,
    /// In one line.
    outcome: String,
    seconds: f64,
}

/// Runs the suite, in a second process of ours whose environment and home folder hold the decoys.
pub(super) async fn attacks(config: &Path, arguments: &AttackArgs, json: bool) -> Result<ExitCode, Failure> {
    match &arguments.decoys {
        None => decoys::with_decoys().await,
        Some(folder) => {
            let config = Config::read(config, &Overrides::default()).map_err(Failure::usage)?;
            run(config, arguments, folder, json).await
        }
    }
}

async fn run(config: Config, arguments: &AttackArgs, decoys: &Path, json: bool) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let cases = selected(arguments)?;
    let mut decoys = Decoys::set_up(decoys).map_err(|error| Failure {
        code: ExitCode::Internal,
        message: format!("the decoys can't be set up: {error}"),
    })?;
    let mut by_problem: BTreeMap<PathBuf, Vec<Case>> = BTreeMap::new();
    for case in cases {
        by_problem.entry(problem_of(&case)?).or_default().push(case);
    }
    let total: usize = by_problem.values().map(Vec::len).sum();
    let progress = show::Progress { done: AtomicUsize::new(0), total };
    let mut rows = Vec::with_capacity(total);
    let mut config = config;
    // How many cases run at once is decided here, not by the evaluator.
    config.evaluator.parallel_builds = Some(WAITING_AT_ONCE);
    let mut tier = None;
    for (folder, cases) in by_problem {
        config.problem = LoadedProblem::load(&folder).map_err(Failure::usage)?;
        let evaluator = open::evaluator(&config, History::default()).await?;
        tier = Some(evaluator.measured_by().sandbox);
        rows.extend(run_all(&evaluator, &config.problem, &cases, &decoys, &progress).await);
        evaluator.shutdown().await;
    }
    rows.sort_by(|a, b| (a.honest, &a.case).cmp(&(b.honest, &b.case)));
    let leftovers = decoys.at_the_end();
    let seconds = started.elapsed().as_secs_f64();
    let report = show::Report { rows, leftovers, sandbox: tier.map(Tier::as_str), seconds };
    report.print(json);
    Ok(if report.is_fine() { ExitCode::Success } else { ExitCode::Internal })
}

/// Cases that only wait for a time limit and run beside each other.
const WAITING_AT_ONCE: usize = 16;

/// First those that end by a time limit only, nearly all at once: among the others each would hold up the trials, which run alone.
async fn run_all(
    evaluator: &Evaluator,
    problem: &LoadedProblem,
    cases: &[Case],
    decoys: &Decoys,
    progress: &show::Progress,
) -> Vec<Row> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from).max(2);
    let mut rows = Vec::with_capacity(cases.len());
    for (waits, at_once) in [(true, WAITING_AT_ONCE), (false, processors)] {
        let runs = cases.iter().filter(|case| case.waits == waits).map(|case| async move {
            let row = run_one(evaluator, problem, case, decoys).await;
            progress.say(&row);
            row
        });
        rows.extend(futures::stream::iter(runs).buffer_unordered(at_once).collect::<Vec<_>>().await);
    }
    rows
}

async fn run_one(evaluator: &Evaluator, problem: &LoadedProblem, case: &Case, decoys: &Decoys) -> Row {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let started = Instant::now();
    let watch = decoys.watch(number);
    let program = case.program(&problem.initial, &watch.text());
    let kernel = token_hash(&program, problem.problem.language()).to_string();
    let result =
        evaluator.evaluate(Job { id: number as u64, program, kernel, purpose: Purpose::Screen }).await;
    let (finding, outcome) = match result {
        Ok(report) => {
            let touched = watch.touched(&report);
            (suite::judge(case, &report.outcome, &touched), report.outcome.to_string())
        }
        Err(error) => {
            let complaint = Some("the evaluation itself broke".to_owned());
            (Finding { ok: false, got: None, complaint }, error.to_string())
        }
    };
    Row {
        case: case.name.clone(),
        title: case.title.clone(),
        honest: case.intent == suite::Intent::Honest,
        expected: case.fence,
        finding,
        outcome,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// The built-in cases and those of further folders, as far as their names match.
fn selected(arguments: &AttackArgs) -> Result<Vec<Case>, Failure> {
    let mut cases = suite::read(&built_in()).map_err(Failure::usage)?;
    for folder in arguments.attacks.iter().flatten() {
        cases.extend(suite::read(folder).map_err(Failure::usage)?);
    }
    if !arguments.only.is_empty() {
        cases.retain(|case| arguments.only.iter().any(|pattern| matches(pattern, &case.name)));
    }
    if cases.is_empty() {
        return Err(Failure::usage("no case of the suite has such a name; leave --only out to see them all"));
    }
    Ok(cases)
}

/// The suite of the checkout that this program was built in.
fn built_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../evaluator/attacks")
}

/// The folder of the problem that a case is for.
fn problem_of(case: &Case) -> Result<PathBuf, Failure> {
    let own = if case.is_kernel() { "kernel" } else { "program" };
    let word = case.problem.as_deref().unwrap_or(own);
    let beside = case.path.parent().unwrap_or(Path::new("/")).join(word);
    let folders = [built_in().join(format!("problem-{word}")), beside];
    folders.into_iter().find(|folder| folder.join("problem.yaml").is_file()).ok_or_else(|| {
        let path = case.path.display();
        Failure::usage(format!(
            "{path}: `problem: {word}`: write `kernel`, `dora`, `program`, or the path from that file to a folder with a problem.yaml"
        ))
    })
}

/// Whether a name matches a pattern, in which `*` stands for any text; a pattern without one may be any part of the name.
fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.contains('*') {
        return name.contains(pattern);
    }
    let pieces: Vec<&str> = pattern.split('*').collect();
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return false };
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    for piece in &pieces[1..pieces.len() - 1] {
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names() {
        for (pattern, name, expected) in [
            ("*", "a/b.rs", true),
            ("zeros", "kernels/zeros.rs", true),
            ("kernels/*", "kernels/a/b.rs", true),
            ("*.py", "kernels/a.rs", false),
            ("*/honest/*.py", "programs/honest/a.py", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b", "b-a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
