//! From OpenEvolve's settings to ours. Pure.

use std::collections::BTreeMap;
use std::path::Path;

use search::{EarlyStopping, FeatureBins, SearchConfig, Selection};

use super::audit::Notes;
use super::file::{Database, File, Llm, Model, Prompt};
use crate::config::yaml::ConfigError;
use crate::prompt::PromptSettings;
use crate::proposer::Secret;
use crate::proposer::llm::settings::{DEFAULT_API_BASE, LlmSettings, ModelSettings};

/// What the command line says of models, as OpenEvolve's does.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ModelFlags<'a> {
    pub(super) api_base: Option<&'a str>,
    pub(super) primary_model: Option<&'a str>,
    pub(super) secondary_model: Option<&'a str>,
}

/// OpenEvolve's default where a file says nothing.
pub(super) const ITERATIONS: u64 = 10_000;
const ISLANDS: usize = 5;
const TOP_PROGRAMS: usize = 3;
const DIVERSE_PROGRAMS: usize = 2;
const EXPLORATION: f64 = 0.2;
const EXPLOITATION: f64 = 0.7;
const CONVERGENCE: f64 = 0.001;
const ARTIFACT_BYTES: usize = 20 << 10;

/// The `search` section.
pub(super) fn search(file: &File, notes: &mut Notes) -> SearchConfig {
    let database = file.database.clone().unwrap_or_default();
    let islands = database.num_islands.unwrap_or(ISLANDS);
    let default = SearchConfig::default();
    let mut config = SearchConfig {
        num_islands: islands,
        population_size: population(&database, islands, notes),
        archive_size: database.archive_size.unwrap_or(100).div_ceil(islands.max(1)),
        feature_dimensions: database.feature_dimensions.clone().unwrap_or(default.feature_dimensions),
        diversity_reference_size: database
            .diversity_reference_size
            .unwrap_or(default.diversity_reference_size),
        exchange_interval: database.migration_interval.unwrap_or(50),
        exchange_rate: database.migration_rate.unwrap_or(0.1),
        early_stopping: early_stopping(file),
        ..default
    };
    config.feature_bins = bins(database.feature_bins.as_ref(), &config.feature_dimensions, notes);
    // Islands come and go where they stagnate, but there are as many as were asked for.
    config.stagnation.max_islands = islands.max(1);
    inspirations(file.prompt.as_ref(), &mut config);
    if database.exploration_ratio.is_some() || database.exploitation_ratio.is_some() {
        parents(&database, &mut config, notes);
    }
    config
}

/// An error of our settings, with the keys of the file.
pub(super) fn in_its_words(path: &Path, error: &search::ConfigError) -> ConfigError {
    let key = match error.key {
        "exchange_interval" => "database.migration_interval".to_owned(),
        "exchange_rate" => "database.migration_rate".to_owned(),
        "early_stopping.patience" => "early_stopping_patience".to_owned(),
        "early_stopping.min_improvement" => "convergence_threshold".to_owned(),
        key => format!("database.{key}"),
    };
    ConfigError::new(path, format!("`{key}` {}", error.problem))
}

/// OpenEvolve's own way of choosing parents, if a file sets its shares.
fn parents(database: &Database, config: &mut SearchConfig, notes: &mut Notes) {
    config.selection = Selection::Mixture;
    config.exploration_ratio = database.exploration_ratio.unwrap_or(EXPLORATION);
    config.exploitation_ratio = database.exploitation_ratio.unwrap_or(EXPLOITATION);
    let rest = 1.0 - config.exploration_ratio;
    if (0.0..=1.0).contains(&rest)
        && config.exploitation_ratio <= 1.0
        && config.exploitation_ratio > rest + 1e-9
    {
        notes.remarks.push(format!(
            "database.exploitation_ratio: with exploration_ratio it is more than 1, so it counts as {}, as there",
            short(rest)
        ));
        config.exploitation_ratio = rest;
    }
}

fn short(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn population(database: &Database, islands: usize, notes: &mut Notes) -> usize {
    let size = database.population_size.unwrap_or(1000);
    if size < islands {
        notes.remarks.push(format!(
            "database.population_size: {size} is less than one program an island, so it counts as {islands}"
        ));
    }
    size.max(islands)
}

/// Bins for dimensions that aren't there have no effect there.
fn bins(given: Option<&FeatureBins>, dimensions: &[String], notes: &mut Notes) -> FeatureBins {
    match given {
        None => FeatureBins::All(10),
        Some(FeatureBins::All(bins)) => FeatureBins::All(*bins),
        Some(FeatureBins::ByName(by_name)) => {
            let (known, strange): (BTreeMap<_, _>, BTreeMap<_, _>) =
                by_name.clone().into_iter().partition(|(name, _)| dimensions.contains(name));
            for name in strange.keys() {
                notes.remarks.push(format!(
                    "database.feature_bins: {name} is none of feature_dimensions, so its bins have no effect, as there"
                ));
            }
            FeatureBins::ByName(known)
        }
    }
}

fn inspirations(prompt: Option<&Prompt>, config: &mut SearchConfig) {
    let top = prompt.and_then(|prompt| prompt.num_top_programs).unwrap_or(TOP_PROGRAMS);
    let diverse = prompt.and_then(|prompt| prompt.num_diverse_programs).unwrap_or(DIVERSE_PROGRAMS);
    config.num_inspirations = top + diverse;
    // The number of best ones is rounded up, so that 3 of 5 stay 3 and not 4.
    let share = top as f64 / (top + diverse).max(1) as f64;
    config.elite_selection_ratio = (share - 1e-9).max(0.0);
}

/// The `prompt` section: how much of artifacts is shown.
pub(super) fn prompt(file: &File, notes: &mut Notes) -> PromptSettings {
    let prompt = file.prompt.clone().unwrap_or_default();
    let most = PromptSettings::MOST_ARTIFACT_BYTES;
    let bytes = prompt.max_artifact_bytes.unwrap_or(ARTIFACT_BYTES);
    let included = prompt.include_artifacts.unwrap_or(true);
    if included && bytes > most {
        notes.remarks.push(format!(
            "prompt.max_artifact_bytes: {bytes} is more than any prompt shows, so it counts as {most}"
        ));
    }
    let max_artifact_bytes = if included { bytes.min(most) } else { 0 };
    PromptSettings { max_artifact_bytes, ..PromptSettings::default() }
}

fn early_stopping(file: &File) -> Option<EarlyStopping> {
    let patience = file.early_stopping_patience.filter(|patience| *patience > 0)?;
    Some(EarlyStopping {
        patience: patience.cast_unsigned(),
        min_improvement: file.convergence_threshold.unwrap_or(CONVERGENCE),
    })
}

/// With a patience below 0 the threshold is a target.
pub(super) fn target(file: &File) -> Option<f64> {
    let patience = file.early_stopping_patience?;
    (patience < 0).then(|| file.convergence_threshold.unwrap_or(CONVERGENCE))
}

/// The `llm` section with the flags of the command line. `Err` is what no run can do, but an evaluation doesn't need.
pub(super) fn llm(
    path: &Path,
    file: &File,
    flags: &ModelFlags<'_>,
    base: Option<String>,
) -> Result<LlmSettings, ConfigError> {
    let mut llm = file.llm.clone().unwrap_or_default();
    if flags.primary_model.is_some() || flags.secondary_model.is_some() {
        // As there: a model on the command line takes the place of all those of the list.
        llm.models = None;
    }
    llm.primary_model = flags.primary_model.map(str::to_owned).or(llm.primary_model);
    llm.secondary_model = flags.secondary_model.map(str::to_owned).or(llm.secondary_model);
    if let Some(base) = flags.api_base {
        llm.api_base = Some(base.to_owned());
        // There a base on the command line doesn't reach models that a file configures; surely it is meant to.
        for model in llm.models.iter_mut().flatten() {
            model.api_base = None;
        }
    }
    let models: Vec<ModelSettings> = models(path, &llm)?;
    let default = LlmSettings::default();
    let written = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    Ok(LlmSettings {
        api_base: written(&llm.api_base).or(base).unwrap_or_else(|| DEFAULT_API_BASE.to_owned()),
        api_key: Some(llm.api_key.unwrap_or_else(|| Secret::new(OPENAI_KEY))),
        models,
        temperature: Some(llm.temperature.unwrap_or(0.7)),
        top_p: llm.top_p,
        max_tokens: Some(llm.max_tokens.unwrap_or(4096)),
        reasoning_effort: llm.reasoning_effort,
        timeout: llm.timeout.unwrap_or(60.0),
        retries: llm.retries.unwrap_or(3),
        retry_delay: llm.retry_delay.unwrap_or(5.0),
        ..default
    })
}

/// The key that is sent where none is written, to whatever endpoint: OpenEvolve's users rely on it.
pub(super) const OPENAI_KEY: &str = "${OPENAI_API_KEY}";

fn models(path: &Path, llm: &Llm) -> Result<Vec<ModelSettings>, ConfigError> {
    asks_by_http(path, "llm", llm.provider.as_deref(), llm.manual_mode)?;
    let mut models = Vec::new();
    for model in llm.models.iter().flatten() {
        asks_by_http(path, "llm.models", model.provider.as_deref(), model.manual_mode)?;
        models.push(settings(path, model)?);
    }
    let short = [
        (&llm.primary_model, Some(llm.primary_model_weight.filter(|weight| *weight != 0.0).unwrap_or(1.0))),
        (&llm.secondary_model, llm.secondary_model_weight.or(Some(0.2)).filter(|weight| *weight > 0.0)),
    ];
    for (name, weight) in short {
        if let (Some(name), Some(weight)) = (name.as_ref().filter(|name| !name.is_empty()), weight) {
            models.push(ModelSettings {
                name: name.clone(),
                weight: Some(weight),
                ..ModelSettings::default()
            });
        }
    }
    Ok(models)
}

fn settings(path: &Path, model: &Model) -> Result<ModelSettings, ConfigError> {
    let name = model.name.clone().ok_or_else(|| {
        ConfigError::new(path, "an entry of `llm.models` has no `name`")
            .hint("give it its name at the endpoint")
    })?;
    Ok(ModelSettings {
        name,
        weight: model.weight,
        api_base: model.api_base.clone(),
        api_key: model.api_key.clone(),
        temperature: model.temperature.into(),
        top_p: model.top_p.into(),
        max_tokens: model.max_tokens.into(),
        reasoning_effort: model.reasoning_effort.clone().into(),
        timeout: model.timeout,
        retries: model.retries,
        retry_delay: model.retry_delay,
        ..ModelSettings::default()
    })
}

/// Models are asked over HTTP only.
fn asks_by_http(
    path: &Path,
    section: &str,
    provider: Option<&str>,
    manual: Option<bool>,
) -> Result<(), ConfigError> {
    if manual == Some(true) {
        let what = format!("`{section}.manual_mode: true`: answers typed by hand can't be waited for");
        return Err(ConfigError::new(path, what)
            .hint("name an endpoint and its models, or use --proposer rewrite, which needs neither"));
    }
    match provider {
        None | Some("openai" | "") => Ok(()),
        Some(other) => Err(ConfigError::new(
            path,
            format!("`{section}.provider: {other}`: models are asked over HTTP, not through a command line tool"),
        )
        .hint(
            "for Claude leave it out and write api_base: https://api.anthropic.com/v1, api_key: ${ANTHROPIC_API_KEY} \
             and the model's full name; or use --proposer rewrite, which needs no model",
        )),
    }
}
