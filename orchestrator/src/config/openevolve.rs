//! OpenEvolve's call: an initial program, an evaluator, and a `config.yaml` in OpenEvolve's words.
//!
//! Every key is looked at ([`audit`]), those with an effect are turned into ours ([`map`]), and the rest is said in one block.
//! A run stores the file as it was written, under a first line that says how it was called, so that it can be resumed.

mod audit;
mod file;
mod keys;
mod map;
mod problem;
mod stored;
mod tree;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::audit::Notes;
use self::file::{File, Seed};
use self::map::ModelFlags;
use self::tree::Node;
use super::proposers::Proposers;
use super::yaml::{self, ConfigError};
use super::{Config, ConfigFile, environment};
use crate::cli::{Overrides, ProposerName};
use crate::proposer::Secret;
use crate::proposer::llm::LlmSettings;

/// How OpenEvolve is called, paths absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The program to start from.
    pub initial_program: PathBuf,
    /// A Python file with `evaluate(path)`, or an executable that prints JSON. Absent in imported runs that can only be looked at.
    pub evaluator: Option<PathBuf>,
    /// Where results go.
    pub output: PathBuf,
    /// Base of the endpoint, in place of the file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_base: Option<String>,
    /// The only or first model, in place of the file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_model: Option<String>,
    /// The second model, in place of the file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_model: Option<String>,
    /// The interpreter; absent: `python3` in `PATH`, which is an active environment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<PathBuf>,
    /// Whether the evaluator may use the network.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub network: bool,
    /// Further files and folders that it may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<PathBuf>,
    /// Environment variables that it sees, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    /// Who proposes, if the call says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proposer: Vec<ProposerName>,
    /// Whether code outside the EVOLVE-BLOCK may differ from the initial program's: in imported runs, since OpenEvolve lets it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub free_frame: bool,
}

/// What is particular to a run in OpenEvolve's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenEvolve {
    /// How it was called.
    pub call: Call,
    /// What a user should know of its configuration.
    pub notes: Notes,
    /// Its `log_level`, where it names one.
    pub log_level: Option<String>,
}

/// The default of `--output`: beside the initial program.
const OUTPUT: &str = "openevolve_output";
const DATABASE: &str = "evolve.db";

impl Call {
    /// Makes paths absolute and looks whether the files are there.
    pub fn new(initial: &Path, evaluator: &Path, output: Option<&Path>) -> Result<Self, ConfigError> {
        let initial_program = existing(initial, "the initial program")?;
        let evaluator = existing(evaluator, "the evaluator")?;
        let beside = || initial_program.parent().unwrap_or(Path::new("/")).join(OUTPUT);
        let output = output.map_or_else(beside, absolute);
        Ok(Self { initial_program, evaluator: Some(evaluator), output, ..Self::default() })
    }

    /// Where this call's runs are kept.
    pub fn database(&self) -> PathBuf {
        self.output.join(DATABASE)
    }
}

/// Where runs are kept that were called in this folder: in its output folder, unless there is only a database beside it.
pub fn database_in(folder: &Path) -> PathBuf {
    let (within, beside) = (folder.join(OUTPUT).join(DATABASE), folder.join(DATABASE));
    if beside.is_file() && !within.is_file() { beside } else { within }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn existing(path: &Path, what: &str) -> Result<PathBuf, ConfigError> {
    match path.canonicalize() {
        Ok(found) if found.is_file() => Ok(found),
        Ok(_) => Err(ConfigError::new(path, format!("{what} is a folder"))
            .hint("name the file in it, or call `evolve run FOLDER` with nothing else")),
        Err(error) => {
            Err(ConfigError::new(path, format!("{what} can't be read: {error}"))
                .hint(yaml::nearest_file(path)))
        }
    }
}

/// Reads and checks OpenEvolve's configuration for a call; without a file OpenEvolve's defaults hold.
pub fn read(call: Call, config: Option<&Path>, overrides: &Overrides) -> Result<Config, ConfigError> {
    match config {
        Some(path) => {
            let text = yaml::read_text(path)?;
            complete(call, path, &text, overrides)
        }
        None => {
            // Relative paths can't occur without a file; this one is where the run says it came from.
            let path = call.initial_program.clone();
            complete(call, &path, "", overrides)
        }
    }
}

/// Whether a stored configuration is one of these.
pub(super) fn is_stored(text: &str) -> bool {
    stored::is_one(text)
}

/// The call that a run was started by, if it was OpenEvolve's.
///
/// # Errors
/// It can't be read.
pub fn stored_call(path: &Path, text: &str) -> Result<Option<Call>, ConfigError> {
    if !is_stored(text) {
        return Ok(None);
    }
    stored::read(path, text).map(|(call, _)| Some(call))
}

/// Checks a configuration as a run has stored it.
pub(super) fn from_stored(path: &Path, text: &str, overrides: &Overrides) -> Result<Config, ConfigError> {
    let (call, text) = stored::read(path, text)?;
    complete(call, path, text, overrides)
}

/// The text that a run stores, without keys that were written out.
pub fn to_store(call: &Call, path: &Path, text: &str) -> Result<String, ConfigError> {
    let (_, file) = parse(path, text)?;
    stored::write(call, path, text, &keys_of(&file))
}

fn parse(path: &Path, text: &str) -> Result<(Notes, File), ConfigError> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok((Notes::default(), File::default()));
    }
    let tree: Node = yaml::parse(path, text)?;
    if tree.entries().iter().any(|entry| entry.key == "problem") {
        return Err(ConfigError::new(
            path,
            "is a configuration of evolve's own, which names its problem itself",
        )
        .hint(format!("evolve run --config {}", path.display())));
    }
    let notes = audit::audit(path, &tree)?;
    Ok((notes, yaml::parse(path, text)?))
}

/// What a checkpoint doesn't say of the evaluations in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The feature dimensions.
    pub features: Vec<String>,
    /// The time limit, in seconds.
    pub timeout: f64,
}

/// What a configuration, or OpenEvolve's defaults, say of it.
pub fn known(config: Option<&Path>) -> Result<Known, ConfigError> {
    let file = match config {
        Some(path) => parse(path, &yaml::read_text(path)?)?.1,
        None => File::default(),
    };
    let features = file.database.and_then(|database| database.feature_dimensions).unwrap_or_default();
    let timeout = file.evaluator.and_then(|evaluator| evaluator.timeout).unwrap_or(problem::TIMEOUT);
    Ok(Known { features, timeout })
}

/// A configuration's place and text; without one, nothing in `folder`.
pub fn text_of(config: Option<&Path>, folder: &Path) -> Result<(PathBuf, String), ConfigError> {
    match config {
        Some(path) => Ok((path.to_owned(), yaml::read_text(path)?)),
        None => Ok((folder.join("config.yaml"), String::new())),
    }
}

/// Whether a file that isn't one of ours looks like OpenEvolve's.
pub(super) fn looks_like_one(path: &Path, text: &str) -> bool {
    let Ok(tree) = yaml::parse::<Node>(path, text) else { return false };
    let has = |name: &str| tree.entries().iter().any(|entry| entry.key == name);
    let known = tree.entries().iter().filter(|entry| keys::of("").any(|key| key.name == entry.key)).count();
    !has("problem") && !has("search") && known > 0 && known * 2 >= tree.entries().len()
}

fn complete(call: Call, path: &Path, text: &str, overrides: &Overrides) -> Result<Config, ConfigError> {
    let (mut notes, file) = parse(path, text)?;
    let stored = stored::write(&call, path, text, &keys_of(&file))?;
    let search = map::search(&file, &mut notes);
    search.check().map_err(|error| map::in_its_words(path, &error))?;
    let overrides = match &overrides.proposer[..] {
        [] => &Overrides { proposer: call.proposer.clone(), ..overrides.clone() },
        _ => overrides,
    };
    let asks_model = overrides.proposer.is_empty() || overrides.proposer.contains(&ProposerName::Llm);
    let problem = problem::problem(&call, path, &file, &mut notes)?;
    // OpenEvolve reads OPENAI_API_BASE only where it is given no file.
    let base = if text.is_empty() { environment::openai_base() } else { None };
    let llm =
        if asks_model { Some(llm(path, &call, &file, base, overrides.offline, &mut notes)?) } else { None };
    let parallel = problem::parallel(&file);
    let written = ConfigFile {
        problem: PathBuf::new(),
        database: call.database(),
        random_seed: seed(path, &file, &mut notes)?,
        max_iterations: file.max_iterations.unwrap_or(map::ITERATIONS),
        max_wall_seconds: None,
        target_score: map::target(&file),
        // Enough under way to keep every evaluation slot busy while a model answers.
        lookahead: Some(if asks_model { 4 } else { 2 }.max(2 * parallel as u64)),
        final_report: false,
        proposer: Proposers::llm(),
        diff_based_evolution: file.diff_based_evolution.unwrap_or(true),
        search,
        prompt: map::prompt(&file, &mut notes),
        llm,
        ..ConfigFile::default()
    };
    let mut config = Config::check(path, written, stored, overrides, || Ok(problem))?;
    config.openevolve = Some(OpenEvolve { call, notes, log_level: file.log_level });
    Ok(config)
}

/// The models. (An evaluation or a search by rules needs none, whatever the file says of them.)
fn llm(
    path: &Path,
    call: &Call,
    file: &File,
    base: Option<String>,
    offline: bool,
    notes: &mut Notes,
) -> Result<LlmSettings, ConfigError> {
    let flags = ModelFlags {
        api_base: call.api_base.as_deref(),
        primary_model: call.primary_model.as_deref(),
        secondary_model: call.secondary_model.as_deref(),
    };
    let mut llm = map::llm(path, file, &flags, base)?;
    if llm.models.is_empty() {
        return Err(ConfigError::new(path, "no language model is named").hint(
            "name one with --primary-model NAME or under `llm:`; or search with the built-in rules, which need \
             neither model nor key: --proposer rewrite",
        ));
    }
    let is_default = llm.api_key.as_ref().is_some_and(|key| key.expose() == map::OPENAI_KEY);
    let needs_key = llm.models.iter().any(|model| model.api_key.is_none());
    if is_default && !environment::is_set("OPENAI_API_KEY") {
        if needs_key && !offline && !is_local(&llm.api_base) {
            return Err(ConfigError::new(path, format!("{} wants a key, and ${{OPENAI_API_KEY}} is not set", llm.api_base))
                .hint(
                    "export OPENAI_API_KEY=..., or write `api_key: ${NAME}` under `llm:`; or search with the built-in \
                     rules, which need no key: --proposer rewrite",
                ));
        }
        llm.api_key = None;
    } else if is_default && needs_key && !llm.api_base.contains("api.openai.com") {
        notes.remarks.push(format!(
            "llm.api_key: none is written, so OPENAI_API_KEY is sent to {}, as OpenEvolve does",
            llm.api_base
        ));
    }
    Ok(llm)
}

/// A server on this machine; those ask for no key.
fn is_local(base: &str) -> bool {
    let host = reqwest::Url::parse(base).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"].contains(&host.as_str()))
}

fn seed(path: &Path, file: &File, notes: &mut Notes) -> Result<u64, ConfigError> {
    let own = file.database.as_ref().and_then(|database| database.random_seed);
    let seed = match file.random_seed {
        Seed::Absent => 42,
        Seed::Fixed(seed) => seed.cast_unsigned(),
        Seed::Any => getrandom::u64().map_err(|error| {
            ConfigError::new(path, format!("`random_seed: null`: no seed can be drawn: {error}"))
        })?,
    };
    if own.is_some_and(|own| own.cast_unsigned() == seed) {
        notes.instead.retain(|(key, _)| key != "database.random_seed");
    }
    Ok(seed)
}

/// Keys that are written out in full or not; for taking them out of what is stored.
fn keys_of(file: &File) -> Vec<Secret> {
    let llm = file.llm.iter();
    let of_models =
        file.llm.iter().flat_map(|llm| llm.models.iter().flatten()).filter_map(|model| model.api_key.clone());
    llm.filter_map(|llm| llm.api_key.clone()).chain(of_models).collect()
}
