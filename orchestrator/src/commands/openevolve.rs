//! `evolve run INITIAL_PROGRAM EVALUATOR`: OpenEvolve's call.

use std::path::{Path, PathBuf};

use program_db::{ProgramDb, RunId};

use super::example::Example;
use super::import::Imported;
use super::open::storage;
use super::text::printable;
use crate::checkpoint::read::newest_below;
use crate::cli::{AccessArgs, OpenEvolveArgs, Overrides, ProposerName, RunArgs};
use crate::config::Config;
use crate::config::openevolve::{self, Call};
use crate::exit_code::{ExitCode, Failure};

pub(super) async fn run(
    db: Option<&Path>,
    arguments: &RunArgs,
    Example { initial, evaluator, config }: Example,
) -> Result<ExitCode, Failure> {
    let (initial, evaluator, given_config) = (&*initial, &*evaluator, config.as_deref());
    let given = &arguments.openevolve;
    let mut call = call(given, initial, evaluator)?;
    call.proposer.clone_from(&arguments.overrides.proposer);
    let source = given.checkpoint.as_deref().map(Source::find).transpose()?;
    let imported = match &source {
        Some(Source::Checkpoint(folder)) => {
            let imported = Imported::read(folder, Some(initial), given_config)?;
            call.free_frame = imported.plan.frames_differ;
            Some(imported)
        }
        _ => None,
    };
    let mut config = openevolve::read(call, given_config, &arguments.overrides).map_err(Failure::usage)?;
    say_notes(&mut config, given, given_config);
    let path = match &source {
        Some(Source::Own(path)) => path.clone(),
        _ => db.unwrap_or(&config.database).to_owned(),
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::usage(format!("{}: can't be made: {error}", folder.display())))?;
    }
    let db = ProgramDb::open(&path).await.map_err(storage)?;
    let run = match (imported, &source) {
        (Some(imported), _) => Some(imported.store(&db, &config).await?),
        (None, Some(_)) => Some(db.latest_run().await.map_err(storage)?.id),
        (None, None) if arguments.resume => Some(db.latest_run().await.map_err(storage)?.id),
        (None, None) => {
            say_earlier_runs(&db).await?;
            None
        }
    };
    if let (Some(run), true) = (run, source.is_some()) {
        // There the flag counts what is added to a checkpoint.
        config.max_iterations =
            config.max_iterations.saturating_add(db.summary(run).await.map_err(storage)?.proposals);
    }
    let config = match run {
        Some(run) => going_on(config, &db, run).await?,
        None => config,
    };
    Box::pin(super::run::search(config, db, run, arguments.overrides.json)).await
}

/// What is asked of a run that is there already can't be changed any more.
async fn going_on(config: Config, db: &ProgramDb, run: RunId) -> Result<Config, Failure> {
    let run = db.run(run).await.map_err(storage)?;
    Ok(Config { random_seed: run.seed, lookahead: run.lookahead.into(), ..config })
}

/// The configuration of an evaluation by OpenEvolve's contract, for which no model is needed.
pub(super) fn evaluating(
    program: &Path,
    evaluator: &Path,
    config: Option<&Path>,
    access: &AccessArgs,
    no_sandbox: bool,
) -> Result<Config, Failure> {
    let given = OpenEvolveArgs { access: access.clone(), ..OpenEvolveArgs::default() };
    let call = call(&given, program, evaluator)?;
    let overrides = Overrides { no_sandbox, proposer: vec![ProposerName::Rewrite], ..Overrides::default() };
    openevolve::read(call, config, &overrides).map_err(Failure::usage)
}

/// The configuration of a run of a folder.
pub(super) fn of_folder(folder: &Path, access: &AccessArgs) -> Result<Config, Failure> {
    let Example { initial, evaluator, config } = Example::within(folder, None)?;
    let given = OpenEvolveArgs { access: access.clone(), ..OpenEvolveArgs::default() };
    let call = call(&given, &initial, &evaluator)?;
    openevolve::read(call, config.as_deref(), &Overrides::default()).map_err(Failure::usage)
}

fn call(given: &OpenEvolveArgs, initial: &Path, evaluator: &Path) -> Result<Call, Failure> {
    let call = Call::new(initial, evaluator, given.output.as_deref()).map_err(Failure::usage)?;
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let AccessArgs { python, allow_network, allow_read, pass_env } = &given.access;
    Ok(Call {
        api_base: given.api_base.clone(),
        primary_model: given.primary_model.clone(),
        secondary_model: given.secondary_model.clone(),
        // A bare name is looked up in PATH.
        python: python
            .as_ref()
            .map(|python| if python.components().count() > 1 { absolute(python) } else { python.clone() }),
        network: *allow_network,
        read: allow_read.iter().map(absolute).collect(),
        environment: pass_env.clone(),
        ..call
    })
}

/// What `--checkpoint` names.
enum Source {
    /// A checkpoint of OpenEvolve's.
    Checkpoint(PathBuf),
    /// A database of ours.
    Own(PathBuf),
}

impl Source {
    fn find(path: &Path) -> Result<Self, Failure> {
        if path.is_file() {
            return Ok(Self::Own(path.to_owned()));
        }
        let own = path.join("evolve.db");
        if own.is_file() {
            return Ok(Self::Own(own));
        }
        if path.join("programs").is_dir() {
            return Ok(Self::Checkpoint(path.to_owned()));
        }
        let hint = match newest_below(path) {
            Some(newest) => format!("did you mean {}?", newest.display()),
            None => "a checkpoint is a folder with metadata.json and programs/; evolve's own is a folder with evolve.db"
                .to_owned(),
        };
        Err(Failure::usage(format!(
            "--checkpoint {}: there is no checkpoint\n  hint: {hint}",
            path.display()
        )))
    }
}

/// Once, before anything happens: which keys have another effect.
fn say_notes(config: &mut Config, given: &OpenEvolveArgs, path: Option<&Path>) {
    let Some(openevolve) = &mut config.openevolve else { return };
    if let Some(level) = given.log_level {
        openevolve.log_level = Some(format!("{level:?}").to_uppercase());
    }
    if path.is_none() && Path::new("config.yaml").is_file() {
        let remark = "config.yaml here isn't read: name it with --config, as for OpenEvolve".to_owned();
        openevolve.notes.remarks.push(remark);
    }
    if let Some(text) = openevolve.notes.text(path.unwrap_or(&openevolve.call.initial_program)) {
        eprintln!("{}", printable(&text));
    }
}

async fn say_earlier_runs(db: &ProgramDb) -> Result<(), Failure> {
    if let Some(last) = db.runs().await.map_err(storage)?.last() {
        eprintln!(
            "{} has run {} already, which stays as it is; this is another one (--resume goes on with it instead)",
            db.path().display(),
            last.id
        );
    }
    Ok(())
}

/// Whether only warnings are to be shown.
pub(super) fn is_quiet(config: &Config) -> bool {
    let level = config.openevolve.as_ref().and_then(|openevolve| openevolve.log_level.as_deref());
    level.is_some_and(|level| {
        ["WARNING", "WARN", "ERROR", "CRITICAL"].contains(&level.to_uppercase().as_str())
    })
}
