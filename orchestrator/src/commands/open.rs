//! Opens what commands work with: database, evaluator, proposer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use evaluator::history::History;
use evaluator::{Evaluator, EvaluatorOptions, Problem};
use program_db::{DbError, ProgramDb, RunId};

use crate::cli::ProgramRef;
use crate::config::{Config, ProposerChoice, openevolve};
use crate::exit_code::{ExitCode, Failure};
use crate::proposer::llm::{LlmProposer, RunContext};
use crate::proposer::replay::{Header, Recording};
use crate::proposer::rewrite::RewriteProposer;
use crate::proposer::several::SeveralProposers;
use crate::proposer::{ProblemText, Proposer, ProposerError};

/// The database for commands that only read: `--db`, else what config.yaml here says, else evolve.db here.
pub(super) async fn reading(db: Option<&Path>) -> Result<ProgramDb, Failure> {
    ProgramDb::open_read_only(database_path(db)?).await.map_err(storage)
}

pub(super) fn database_path(db: Option<&Path>) -> Result<PathBuf, Failure> {
    let config = Path::new("config.yaml");
    match db {
        Some(path) => Ok(path.to_owned()),
        None if config.is_file() => Config::database_of(config).map_err(Failure::usage),
        None if openevolve::database_in(Path::new("")).is_file() => {
            Ok(openevolve::database_in(Path::new("")))
        }
        None => Ok("evolve.db".into()),
    }
}

/// The run that a program reference means.
pub(super) async fn run_of(db: &ProgramDb, run: Option<i64>) -> Result<RunId, Failure> {
    match run {
        Some(run) => db.run(run).await.map(|run| run.id).map_err(storage),
        None => db.latest_run().await.map(|run| run.id).map_err(storage),
    }
}

/// The run and number that a program reference means.
pub(super) async fn program_of(
    db: &ProgramDb,
    program: ProgramRef,
) -> Result<(RunId, search::ProgramId), Failure> {
    Ok((run_of(db, program.run).await?, program.number))
}

/// A database error with its exit code.
pub(crate) fn storage(error: DbError) -> Failure {
    let code = match &error {
        DbError::Missing { .. }
        | DbError::NoRuns { .. }
        | DbError::NoSuchRun { .. }
        | DbError::NoSuchProgram { .. }
        | DbError::NoProgram { .. }
        | DbError::Filter(_)
        | DbError::SqlRefused { .. }
        | DbError::SqlWrong { .. }
        | DbError::SqlTooLong { .. } => ExitCode::Usage,
        _ => ExitCode::Storage,
    };
    Failure { code, message: error.to_string() }
}

/// Starts the evaluator process, which stands beside this program. `history` is the past of the run that it goes on with.
pub(super) async fn evaluator(config: &Config, history: History) -> Result<Evaluator, Failure> {
    let failed = |message: String| Failure { code: ExitCode::Evaluator, message };
    let mut options = EvaluatorOptions::new(
        &own_folder()?,
        config.problem.clone(),
        config.search_path.clone(),
        std::env::temp_dir(),
    );
    options.harness = Some(harness(config));
    options.model_cache = config.model_cache.clone();
    options.sandbox = config.sandbox;
    // Keys and other programs.
    options.hidden = [&config.path, &config.database]
        .into_iter()
        .filter_map(|path| std::path::absolute(path).ok())
        .collect();
    options.history = history;
    if let Some(builds) = config.evaluator.parallel_builds {
        options.builds = builds;
    }
    Evaluator::spawn(options).await.map_err(|error| failed(error.to_string()))
}

/// The program that starts everything in the sandbox.
pub(super) fn launcher() -> Result<PathBuf, Failure> {
    Ok(own_folder()?.join("evolve-launcher"))
}

/// Where this program lies, and its helpers with it.
fn own_folder() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|error| Failure {
        code: ExitCode::Evaluator,
        message: format!("can't find my own program: {error}"),
    })?;
    Ok(own.parent().unwrap_or(Path::new("/")).to_owned())
}

/// Where `harness.json` is: as configured, else where `make mlx` puts it in the checkout that this program was built in.
pub(super) fn harness(config: &Config) -> PathBuf {
    config
        .evaluator
        .harness
        .clone()
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../evaluator/mlx/harness.json"))
}

/// The problem in words, for proposers.
pub(super) fn problem_text(config: &Config) -> Result<ProblemText, Failure> {
    let problem = &config.problem.problem;
    let api_reference = match problem {
        Problem::Kernel(_) => Some(api_reference(&harness(config))?),
        Problem::Command(_) => None,
    };
    let task = [problem.description(), problem.notes()]
        .into_iter()
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join("\n\n");
    Ok(ProblemText { name: problem.name().to_owned(), task, api_reference })
}

fn api_reference(harness: &Path) -> Result<String, Failure> {
    let failed = |message: String| Failure { code: ExitCode::Evaluator, message };
    let harness = evaluator::harness::read(Some(harness)).map_err(|error| failed(error.to_string()))?;
    std::fs::read_to_string(&harness.reference).map_err(|error| {
        failed(format!(
            "the kernel API's reference {} can't be read: {error}; run `make mlx` again",
            harness.reference.display()
        ))
    })
}

/// Makes the proposer that the configuration names; one for all if it names several.
pub(super) fn proposer(config: &Config, context: &RunContext) -> Result<Arc<dyn Proposer>, Failure> {
    let mut proposers =
        config.proposers.iter().map(|proposer| one_proposer(config, &proposer.choice, context.clone()));
    let first = match proposers.next() {
        Some(first) => first.map_err(unusable)?,
        None => return Err(Failure::usage("`proposer` names nobody".to_owned())),
    };
    let others: Vec<_> = proposers.collect::<Result<_, _>>().map_err(unusable)?;
    Ok(if others.is_empty() { first } else { Arc::new(SeveralProposers::new(first, others)) })
}

fn one_proposer(
    config: &Config,
    choice: &ProposerChoice,
    context: RunContext,
) -> Result<Arc<dyn Proposer>, ProposerError> {
    let prompt = &config.prompt;
    let diff_based = config.diff_based_evolution;
    Ok(match (choice, &config.llm, &config.replay) {
        (ProposerChoice::Llm, _, Some(file)) => {
            Arc::new(LlmProposer::replaying("llm", Recording::open(file)?, diff_based, prompt)?)
        }
        (ProposerChoice::Llm, Some(llm), None) => {
            Arc::new(LlmProposer::new(llm, diff_based, prompt)?.within(context))
        }
        (ProposerChoice::Replay(file), ..) => {
            Arc::new(LlmProposer::replaying("replay", Recording::open(file)?, diff_based, prompt)?)
        }
        _ => {
            let rules = config.problem.folder.join("rules");
            let proposer = RewriteProposer::new(rules.is_dir().then_some(rules.as_path()))?;
            Arc::new(proposer.with_seed(config.random_seed))
        }
    })
}

pub(super) fn unusable(error: ProposerError) -> Failure {
    Failure::usage(format!("{}\n  hint: {}", error.what, error.hint))
}

/// What the recording that is replayed says about the run it was made of.
pub(super) fn recorded(config: &Config) -> Result<Option<Header>, Failure> {
    let of_proposers = config.proposers.iter().find_map(|proposer| match &proposer.choice {
        ProposerChoice::Replay(file) => Some(file),
        _ => None,
    });
    let Some(file) = config.replay.as_ref().or(of_proposers) else { return Ok(None) };
    Ok(Recording::open(file).map_err(unusable)?.header().cloned())
}
