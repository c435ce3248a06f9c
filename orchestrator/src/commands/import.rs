//! `evolve import`: an OpenEvolve checkpoint becomes a run.

use std::path::{Path, PathBuf};

use program_db::{NewRun, ProgramDb, RunId};
use search::Language;

use super::open::{database_path, storage};
use super::text::printable;
use crate::checkpoint::plan::{Plan, Settings, plan};
use crate::checkpoint::read::{self, Checkpoint};
use crate::cli::{ImportArgs, Overrides, ProposerName};
use crate::config::Config;
use crate::config::openevolve::{self, Call};
use crate::exit_code::{ExitCode, Failure};

/// A checkpoint that was read, and the run that it will be.
pub(super) struct Imported {
    folder: PathBuf,
    checkpoint: Checkpoint,
    pub(super) plan: Plan,
}

impl Imported {
    pub(super) fn read(
        folder: &Path,
        initial: Option<&Path>,
        config: Option<&Path>,
    ) -> Result<Self, Failure> {
        let checkpoint = read::read(folder).map_err(Failure::usage)?;
        let source = initial.map(std::fs::read_to_string).transpose().map_err(|error| {
            let initial = initial.unwrap_or(Path::new("")).display();
            Failure::usage(format!("{initial}: can't be read: {error}"))
        })?;
        let known = openevolve::known(config).map_err(Failure::usage)?;
        let settings = Settings {
            initial: source.as_deref(),
            language: language(initial, &checkpoint),
            features: known.features,
            timeout: known.timeout,
        };
        let plan = plan(folder, &checkpoint, &settings);
        Ok(Self { folder: folder.to_owned(), checkpoint, plan })
    }

    /// Stores it as a run that goes on by `config`, and says what was found.
    pub(super) async fn store(self, db: &ProgramDb, config: &Config) -> Result<RunId, Failure> {
        let title = config.problem.problem.name();
        self.store_as(db, title, &config.text, &config.path, config.random_seed, config.lookahead).await
    }

    async fn store_as(
        self,
        db: &ProgramDb,
        title: &str,
        config: &str,
        config_path: &Path,
        seed: u64,
        lookahead: u64,
    ) -> Result<RunId, Failure> {
        let Self { folder, checkpoint, plan } = self;
        let Some(initial) = plan.programs.first().map(|program| program.program.clone()) else {
            return Err(Failure::usage(format!("{} holds no program", folder.display())));
        };
        let path = std::path::absolute(config_path).unwrap_or_else(|_| config_path.to_owned());
        let run = NewRun {
            title: title.to_owned(),
            problem: title.to_owned(),
            config: config.to_owned(),
            config_path: path.to_string_lossy().into_owned(),
            seed,
            lookahead: u32::try_from(lookahead).unwrap_or(u32::MAX),
            initial,
        };
        let run = db.import_run(&run, &plan.programs).await.map_err(storage)?;
        let mut text = format!(
            "run {run}: {} programs of {} imported (iteration {})",
            plan.programs.len(),
            folder.display(),
            checkpoint.last_iteration
        );
        for line in checkpoint.problems.iter().chain(&plan.remarks) {
            text.push_str(&format!("\n  {line}"));
        }
        eprintln!("{}", printable(&text));
        Ok(run)
    }
}

fn language(initial: Option<&Path>, checkpoint: &Checkpoint) -> Language {
    let ending = initial.and_then(Path::extension).map(|ending| ending.to_string_lossy().into_owned());
    let named = checkpoint.programs.values().find_map(|program| program.language.clone());
    match ending.or(named).as_deref() {
        Some("py" | "python") => Language::Python,
        Some("rs" | "rust") => Language::Rust,
        _ => Language::Other,
    }
}

pub(super) async fn import(db: Option<&Path>, arguments: &ImportArgs) -> Result<ExitCode, Failure> {
    let ImportArgs { checkpoint, initial, evaluator, config } = arguments;
    let imported = Imported::read(checkpoint, initial.as_deref(), config.as_deref())?;
    let path = database_path(db)?;
    let path = std::path::absolute(&path).unwrap_or(path);
    let output = path.parent().unwrap_or(Path::new("/")).to_owned();
    std::fs::create_dir_all(&output)
        .map_err(|error| Failure::usage(format!("{}: can't be made: {error}", output.display())))?;
    let free_frame = imported.plan.frames_differ;
    let db = ProgramDb::open(&path).await.map_err(storage)?;
    let run = match (initial, evaluator) {
        (Some(initial), Some(evaluator)) => {
            let call = Call::new(initial, evaluator, Some(&output)).map_err(Failure::usage)?;
            // Which model is asked when it goes on is looked at then.
            let overrides = Overrides { proposer: vec![ProposerName::Rewrite], ..Overrides::default() };
            let config = openevolve::read(Call { free_frame, ..call }, config.as_deref(), &overrides)
                .map_err(Failure::usage)?;
            imported.store(&db, &config).await?
        }
        _ => {
            let call =
                Call { output, free_frame, initial_program: absolute(initial.as_deref()), ..Call::default() };
            let (at, text) = openevolve::text_of(config.as_deref(), checkpoint).map_err(Failure::usage)?;
            let stored = openevolve::to_store(&call, &at, &text).map_err(Failure::usage)?;
            imported.store_as(&db, &title(checkpoint), &stored, &at, 42, 4).await?
        }
    };
    eprintln!("look at it: evolve query --run {run} 'order by score desc limit 5' --db {}", path.display());
    if evaluator.is_some() {
        eprintln!("go on with it: evolve resume {run} --iterations N --db {}", path.display());
    }
    println!("{run}");
    Ok(ExitCode::Success)
}

fn absolute(path: Option<&Path>) -> PathBuf {
    path.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned())).unwrap_or_default()
}

/// The folder around OpenEvolve's output: `circle_packing/openevolve_output/checkpoints/checkpoint_100`.
fn title(checkpoint: &Path) -> String {
    let absolute = std::path::absolute(checkpoint).unwrap_or_else(|_| checkpoint.to_owned());
    let usual =
        |name: &str| name == "checkpoints" || name == "openevolve_output" || name.starts_with("checkpoint_");
    let mut names = absolute.components().rev().map(|part| part.as_os_str().to_string_lossy().into_owned());
    names.find(|name| !usual(name) && name != "/").unwrap_or_else(|| "openevolve".to_owned())
}
