//! OpenEvolve's configuration file as typed values: the keys that have an effect here. Whether a key exists at all is
//! [`super::audit`]'s business.

use serde::Deserialize;

use crate::proposer::Secret;

/// The whole file. What is absent has OpenEvolve's default, see [`super::map`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    pub(super) max_iterations: Option<u64>,
    pub(super) log_level: Option<String>,
    /// Absent and `null` differ: `null` asks for a seed that nobody knows.
    pub(super) random_seed: Seed,
    pub(super) language: Option<String>,
    #[serde(rename = "file_suffix")]
    pub(super) suffix: Option<String>,
    pub(super) diff_based_evolution: Option<bool>,
    pub(super) max_code_length: Option<usize>,
    pub(super) early_stopping_patience: Option<i64>,
    pub(super) convergence_threshold: Option<f64>,
    pub(super) early_stopping_metric: Option<String>,
    pub(super) llm: Option<Llm>,
    pub(super) prompt: Option<Prompt>,
    pub(super) database: Option<Database>,
    pub(super) evaluator: Option<Evaluator>,
}

/// The key `random_seed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Seed {
    #[default]
    Absent,
    /// `null`.
    Any,
    Fixed(i64),
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map_or(Self::Any, Self::Fixed))
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Llm {
    pub(super) primary_model: Option<String>,
    pub(super) primary_model_weight: Option<f64>,
    pub(super) secondary_model: Option<String>,
    pub(super) secondary_model_weight: Option<f64>,
    pub(super) models: Option<Vec<Model>>,
    pub(super) api_base: Option<String>,
    pub(super) api_key: Option<Secret>,
    pub(super) provider: Option<String>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) max_tokens: Option<u32>,
    pub(super) timeout: Option<f64>,
    pub(super) retries: Option<u32>,
    pub(super) retry_delay: Option<f64>,
    pub(super) reasoning_effort: Option<String>,
    pub(super) manual_mode: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Model {
    pub(super) name: Option<String>,
    pub(super) weight: Option<f64>,
    pub(super) api_base: Option<String>,
    pub(super) api_key: Option<Secret>,
    pub(super) provider: Option<String>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) max_tokens: Option<u32>,
    pub(super) timeout: Option<f64>,
    pub(super) retries: Option<u32>,
    pub(super) retry_delay: Option<f64>,
    pub(super) reasoning_effort: Option<String>,
    pub(super) manual_mode: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Prompt {
    pub(super) system_message: Option<String>,
    pub(super) num_top_programs: Option<usize>,
    pub(super) num_diverse_programs: Option<usize>,
    pub(super) include_artifacts: Option<bool>,
    pub(super) max_artifact_bytes: Option<usize>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Database {
    pub(super) population_size: Option<usize>,
    pub(super) archive_size: Option<usize>,
    pub(super) num_islands: Option<usize>,
    pub(super) exploration_ratio: Option<f64>,
    pub(super) exploitation_ratio: Option<f64>,
    pub(super) feature_dimensions: Option<Vec<String>>,
    pub(super) feature_bins: Option<search::FeatureBins>,
    pub(super) diversity_reference_size: Option<usize>,
    pub(super) migration_interval: Option<u64>,
    pub(super) migration_rate: Option<f64>,
    pub(super) random_seed: Option<i64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Evaluator {
    pub(super) timeout: Option<f64>,
    pub(super) cascade_evaluation: Option<bool>,
    pub(super) cascade_thresholds: Option<Vec<f64>>,
    pub(super) parallel_evaluations: Option<usize>,
}
