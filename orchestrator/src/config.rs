//! The configuration: read once, checked once, then plain data. The only place that reads the environment.

mod environment;
mod models;
pub mod openevolve;
mod problem;
mod programs;
mod proposers;
pub mod yaml;

use std::path::{Path, PathBuf};

use evaluator::LoadedProblem;
use search::SearchConfig;
use serde::Deserialize;

pub use self::environment::{SERVICE_TOKEN, has_screen, no_color, otlp_endpoint, service_token};
use self::openevolve::OpenEvolve;
use self::proposers::Proposers;
pub use self::proposers::{ProposerChoice, WeightedProposer};
pub use self::yaml::ConfigError;
use crate::cli::Overrides;
use crate::lessons::LessonSettings;
use crate::operator::Operator;
use crate::prompt::PromptSettings;
use crate::proposer::Secret;
use crate::proposer::llm::LlmSettings;

/// `config.yaml` as written. Unknown keys are errors; every key works.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    problem: PathBuf,
    #[serde(default = "default_database")]
    database: PathBuf,
    #[serde(default = "default_seed")]
    random_seed: u64,
    #[serde(default = "default_iterations")]
    max_iterations: u64,
    #[serde(default)]
    max_wall_seconds: Option<f64>,
    #[serde(default)]
    target_score: Option<f64>,
    #[serde(default)]
    lookahead: Option<u64>,
    #[serde(default = "default_true")]
    final_report: bool,
    #[serde(default)]
    proposer: Proposers,
    #[serde(default = "default_true")]
    diff_based_evolution: bool,
    #[serde(default)]
    search: SearchConfig,
    #[serde(default)]
    llm: Option<LlmSettings>,
    #[serde(default)]
    prompt: PromptSettings,
    #[serde(default)]
    lessons: LessonSettings,
    #[serde(default)]
    evaluator: EvaluatorSettings,
}

/// How candidates are evaluated, beyond what the problem says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluatorSettings {
    /// Builds and checks at once; absent: one per core.
    pub parallel_builds: Option<usize>,
    /// The MLX harness's `harness.json`; absent: the one that `make mlx` made in the source checkout.
    pub harness: Option<PathBuf>,
}

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// Where it was read from; relative paths in it are relative to its folder.
    pub path: PathBuf,
    /// The text as written, `${VAR}` unexpanded and keys written out in full taken out: safe to store.
    pub text: String,
    /// The problem.
    pub problem: LoadedProblem,
    /// The database file.
    pub database: PathBuf,
    /// The run's seed.
    pub random_seed: u64,
    /// Proposals in all.
    pub max_iterations: u64,
    /// Wall-time budget of one session, seconds.
    pub max_wall_seconds: Option<f64>,
    /// Stop at this score.
    pub target_score: Option<f64>,
    /// Proposals asked for beyond what has been told.
    pub lookahead: u64,
    /// Compare the champion with the initial program and MLX-LM's own layer when a run ends.
    pub final_report: bool,
    /// Who proposes: at least one, never `Auto`.
    pub proposers: Vec<WeightedProposer>,
    /// Ask models for SEARCH/REPLACE edits rather than whole programs.
    pub diff_based_evolution: bool,
    /// Search settings.
    pub search: SearchConfig,
    /// Model settings with keys expanded.
    pub llm: Option<LlmSettings>,
    /// Keep replies in this file.
    pub record: Option<PathBuf>,
    /// Take the models' replies from this file.
    pub replay: Option<PathBuf>,
    /// Prompt settings.
    pub prompt: PromptSettings,
    /// Lesson settings.
    pub lessons: LessonSettings,
    /// Evaluator settings.
    pub evaluator: EvaluatorSettings,
    /// Whether candidates run in the sandbox. No file can turn it off, only the flag `--no-sandbox`.
    pub sandbox: bool,
    /// `PATH` for compilers and commands.
    pub search_path: String,
    /// Where models named by hub id are kept.
    pub model_cache: Option<PathBuf>,
    /// Present in a run that was called as OpenEvolve is.
    pub openevolve: Option<OpenEvolve>,
}

fn default_database() -> PathBuf {
    "evolve.db".into()
}

fn default_seed() -> u64 {
    42
}

fn default_true() -> bool {
    true
}

fn default_iterations() -> u64 {
    100
}

impl Config {
    /// Reads and checks a configuration file.
    pub fn read(path: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let text = yaml::read_text(path)?;
        let file = yaml::parse::<ConfigFile>(path, &text).map_err(|error| advise(path, &text, error))?;
        Self::of_file(path, file, &text, overrides)
    }

    /// Checks a configuration stored with a run. `path` is where it was read from then.
    pub fn from_stored(path: &Path, text: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        if openevolve::is_stored(text) {
            return openevolve::from_stored(path, text, overrides);
        }
        let file = yaml::parse::<ConfigFile>(path, text)?;
        Self::of_file(path, file, text, overrides)
    }

    fn of_file(
        path: &Path,
        file: ConfigFile,
        text: &str,
        overrides: &Overrides,
    ) -> Result<Self, ConfigError> {
        let stored = storable(path, text, file.llm.as_ref())?;
        let problem = folder_of(path).join(&file.problem);
        Self::check(path, file, stored, overrides, || problem::read(path, &problem))
    }

    /// Only the database's place, for commands that just read it.
    pub fn database_of(path: &Path) -> Result<PathBuf, ConfigError> {
        let text = yaml::read_text(path)?;
        match yaml::parse::<ConfigFile>(path, &text) {
            Ok(file) => Ok(folder_of(path).join(file.database)),
            Err(_) if openevolve::looks_like_one(path, &text) => Ok(openevolve::database_in(folder_of(path))),
            Err(error) => Err(error),
        }
    }

    /// Whether a language model proposes, alone or with others.
    pub fn asks_model(&self) -> bool {
        asks_model(&self.proposers)
    }

    /// Whether replies come from a file, whoever gives them.
    pub fn replays(&self) -> bool {
        self.replay.is_some() || replays(&self.proposers)
    }

    /// The names of those who propose.
    pub fn proposer_names(&self) -> String {
        let names: Vec<&str> = self.proposers.iter().map(|proposer| proposer.choice.name()).collect();
        names.join(" + ")
    }

    /// `text` is what is stored with a run.
    fn check(
        path: &Path,
        file: ConfigFile,
        text: String,
        overrides: &Overrides,
        problem: impl FnOnce() -> Result<LoadedProblem, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let wrong = |what: String| ConfigError::new(path, what);
        let folder = folder_of(path);
        file.search.check().map_err(|error| wrong(format!("search: {error}")))?;
        let max_wall_seconds = overrides.max_wall_seconds.or(file.max_wall_seconds);
        if let Some(seconds) = max_wall_seconds
            && !(seconds.is_finite() && seconds > 0.0)
        {
            return Err(wrong(format!("`max_wall_seconds` must be above 0, not {seconds}")));
        }
        let target_score = overrides.target_score.or(file.target_score);
        if let Some(target) = target_score
            && !target.is_finite()
        {
            return Err(wrong(format!("`target_score` must be a finite number, not {target}")));
        }
        let has_model = file.llm.as_ref().is_some_and(LlmSettings::names_a_model);
        let proposers = match &overrides.proposer[..] {
            [] => file.proposer,
            names => Proposers::named(names),
        };
        let mut proposers = proposers.check(path, folder, has_model)?;
        if let Some(replay) = overrides.replay.as_ref().filter(|_| !asks_model(&proposers)) {
            proposers = vec![ProposerChoice::Replay(replay.clone()).into()];
        }
        // Whom nobody asks needs no key.
        let llm = file.llm.filter(|_| asks_model(&proposers) || replays(&proposers));
        let llm = match llm {
            Some(llm) if overrides.offline || overrides.replay.is_some() || replays(&proposers) => {
                Some(models::offline(llm))
            }
            Some(llm) => Some(models::complete(path, environment::expand(path, llm)?)?),
            None => None,
        };
        let llm = models::with_budget(path, llm, overrides)?;
        if overrides.record.is_some() && !asks_model(&proposers) {
            return Err(wrong(
                "--record keeps the replies of language models, and none proposes here".into(),
            ));
        }
        check_operators(path, &proposers, &file.search)?;
        let mut search = file.search;
        // A recording of a search must lead to the same one.
        let as_models_do = asks_model(&proposers) || (replays(&proposers) && llm.is_some());
        if search.bandit.operators.is_empty() && as_models_do {
            let weights = Operator::default_weights(file.diff_based_evolution);
            search.bandit.operators = weights.map(|(name, weight)| (name.to_owned(), weight)).collect();
        }
        let prompt = PromptSettings {
            template_dir: file.prompt.template_dir.map(|dir| folder.join(dir)),
            ..file.prompt
        };
        if let Some(dir) = &prompt.template_dir
            && !dir.is_dir()
        {
            return Err(wrong(format!("`prompt.template_dir`: no folder {}", dir.display())));
        }
        let most = PromptSettings::MOST_ARTIFACT_BYTES;
        if prompt.max_artifact_bytes > most {
            return Err(wrong(format!(
                "`prompt.max_artifact_bytes` is {}, and can be {most} at most: `evolve show N` prints whole artifacts",
                prompt.max_artifact_bytes
            )));
        }
        let evaluator = EvaluatorSettings {
            harness: file.evaluator.harness.map(|harness| folder.join(harness)),
            ..file.evaluator
        };
        // A model answers in tens of seconds, rules at once: look further ahead for a model.
        let lookahead = file.lookahead.unwrap_or(if as_models_do { 4 } else { 2 });
        if lookahead == 0 {
            return Err(wrong("`lookahead` must be at least 1".into()));
        }
        Ok(Self {
            path: path.to_owned(),
            text,
            problem: problem()?,
            database: folder.join(file.database),
            random_seed: overrides.seed.unwrap_or(file.random_seed),
            max_iterations: overrides.iterations.unwrap_or(file.max_iterations),
            max_wall_seconds,
            target_score,
            lookahead,
            final_report: file.final_report,
            proposers,
            diff_based_evolution: file.diff_based_evolution,
            search,
            llm,
            record: overrides.record.clone(),
            replay: overrides.replay.clone(),
            prompt,
            lessons: file.lessons,
            evaluator,
            sandbox: !overrides.no_sandbox,
            search_path: environment::path(),
            model_cache: environment::model_cache(),
            openevolve: None,
        })
    }
}

/// A file in OpenEvolve's words needs OpenEvolve's call.
fn advise(path: &Path, text: &str, error: ConfigError) -> ConfigError {
    if !openevolve::looks_like_one(path, text) {
        return error;
    }
    ConfigError {
        place: None,
        ..ConfigError::new(path, "is a configuration for OpenEvolve, which names no problem")
    }
    .hint(format!(
        "name program and evaluator, as there: evolve run INITIAL_PROGRAM EVALUATOR --config {}",
        path.display()
    ))
}

fn asks_model(proposers: &[WeightedProposer]) -> bool {
    proposers.iter().any(|proposer| proposer.choice == ProposerChoice::Llm)
}

fn replays(proposers: &[WeightedProposer]) -> bool {
    proposers.iter().any(|proposer| matches!(proposer.choice, ProposerChoice::Replay(_)))
}

/// A model knows a few operators; a rule's name, say, would never be chosen by anyone.
fn check_operators(
    path: &Path,
    proposers: &[WeightedProposer],
    search: &SearchConfig,
) -> Result<(), ConfigError> {
    let stranger = search.bandit.operators.keys().find(|name| Operator::named(name).is_none());
    match stranger {
        Some(name) if proposers.len() == 1 && asks_model(proposers) => {
            let what = format!("`search.bandit.operators`: a model has no operator `{name}`");
            Err(ConfigError::new(path, what).hint("it has edit, full_rewrite, crossover and simplify"))
        }
        _ => Ok(()),
    }
}

/// The configuration's text without keys written out in full, as it is stored with a run.
fn storable(path: &Path, text: &str, llm: Option<&LlmSettings>) -> Result<String, ConfigError> {
    let keys: Vec<Secret> = llm.into_iter().flat_map(environment::keys).cloned().collect();
    let text = environment::without_these(text, &keys);
    let hidden = || {
        ConfigError::new(path, "`api_key` is written in a way that can't be kept out of the database")
            .hint("write it on one line and without escapes, or better as ${NAME}")
    };
    // YAML has many ways to write a text, so look at what would be read back.
    let stored = yaml::parse::<ConfigFile>(path, &text).map_err(|_| hidden())?;
    let is_in_full = stored.llm.iter().flat_map(environment::keys).any(environment::is_key_in_full);
    if is_in_full { Err(hidden()) } else { Ok(text) }
}

/// The folder that relative paths in a configuration start from.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
