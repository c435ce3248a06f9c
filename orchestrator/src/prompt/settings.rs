//! The `prompt` section of a configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// What prompts are made of.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PromptSettings {
    /// Templates here replace the built-in ones of the same name, or stand beside them as variants.
    pub template_dir: Option<PathBuf>,
    /// For templates with several variants how often each is used, relative to the others: `{ approach: { default: 2, avoid: 1 } }`.
    /// Variants that aren't listed for a template which is listed aren't used; a template that isn't listed uses all alike.
    pub variants: BTreeMap<String, BTreeMap<String, f64>>,
    /// Of each artifact that an evaluation left so many bytes are shown, beginning and end. 0: artifacts aren't shown.
    pub max_artifact_bytes: usize,
    /// Longest prompt, in estimated tokens; what is worth least is left out beyond. 0: no limit.
    pub max_tokens: usize,
    /// Earlier failures from the same parent that a prompt shows.
    pub num_failures: usize,
    /// Earlier measured children of the same parent that a prompt shows.
    pub num_successes: usize,
}

impl PromptSettings {
    /// The largest `max_artifact_bytes`: of every program that prompts may show so much is held in memory.
    pub const MOST_ARTIFACT_BYTES: usize = 32 << 10;
}

impl Default for PromptSettings {
    fn default() -> Self {
        Self {
            template_dir: None,
            variants: BTreeMap::new(),
            max_artifact_bytes: 4000,
            max_tokens: 30_000,
            num_failures: 3,
            num_successes: 3,
        }
    }
}
