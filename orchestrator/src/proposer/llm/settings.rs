//! The `llm` section of a config as it is written, with OpenEvolve's key names. `model.rs` makes checked models of it.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::price::{Price, PriceTable};
use super::proxy::EnvironmentProxies;
use crate::proposer::Secret;

/// Where OpenAI-compatible requests go when no `api_base` is given.
pub const DEFAULT_API_BASE: &str = "https://api.openai.com/v1";

/// The `llm` section as written. What concerns one model can be repeated in its entry.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LlmSettings {
    /// Base URL of an OpenAI-compatible endpoint, up to and without `/chat/completions`.
    pub api_base: String,
    /// Its key. Local servers need none.
    pub api_key: Option<Secret>,
    /// The ensemble. Each proposal goes to one model, drawn by weight.
    pub models: Vec<ModelSettings>,
    /// OpenEvolve's short form of a first entry of `models`.
    pub primary_model: Option<String>,
    /// Weight of `primary_model`.
    pub primary_model_weight: f64,
    /// OpenEvolve's short form of a second entry of `models`.
    pub secondary_model: Option<String>,
    /// Weight of `secondary_model`.
    pub secondary_model_weight: f64,
    /// Sampling temperature; `null` leaves it to the endpoint (some reasoning models accept no other).
    pub temperature: Option<f64>,
    /// Nucleus sampling; absent leaves it to the endpoint.
    pub top_p: Option<f64>,
    /// Longest reply, in tokens.
    pub max_tokens: Option<u32>,
    /// For reasoning models: `low`, `medium`, `high`.
    pub reasoning_effort: Option<String>,
    /// The endpoint's own seed, where it has one.
    pub seed: Option<Seed>,
    /// Further fields of the request's body, as they are.
    pub extra_body: Map<String, Value>,
    /// Ask for answers in pieces, so that a stalled one is noticed.
    pub stream: bool,
    /// Seconds that one request may take.
    pub timeout: f64,
    /// Seconds without a further piece of an answer that has begun.
    pub idle_timeout: f64,
    /// Further requests after a failed one: 3 means 4 requests in total.
    pub retries: u32,
    /// Seconds before the first retry; doubles with each, with jitter. `Retry-After` goes before it.
    pub retry_delay: f64,
    /// Seconds that an endpoint which answered before is waited for when it no longer does.
    pub outage_patience: f64,
    /// Most requests under way at once at each endpoint.
    pub concurrency: usize,
    /// Address of a proxy, or `none`; absent: the environment's.
    pub proxy: Option<Secret>,
    /// The environment's proxies; not from the file.
    #[serde(skip)]
    pub environment: EnvironmentProxies,
    /// Most that the run may spend, over all its sessions, in `currency`.
    pub max_cost: Option<f64>,
    /// Most tokens that the run may take, over all its sessions, sent and received together.
    pub max_total_tokens: Option<u64>,
    /// What prices and costs are in.
    pub currency: String,
    /// A file of prices that goes before the built-in table.
    pub prices: Option<PathBuf>,
    /// The prices known: the built-in table, with those of `prices` before it.
    #[serde(skip)]
    pub price_table: PriceTable,
}

/// What an endpoint is given as its seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// Always the same.
    Fixed(i64),
    /// Another one for each prompt, drawn from the run's seed.
    Auto,
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(word) if word == "auto" => Ok(Self::Auto),
            Value::Number(number) if number.is_i64() => Ok(Self::Fixed(number.as_i64().unwrap_or_default())),
            other => Err(serde::de::Error::custom(format!("a whole number or `auto`, not {other}"))),
        }
    }
}

/// A setting of one model: the section's, or its own, which may be `null` to leave it to the endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Own<T> {
    /// As the section says.
    #[default]
    Inherited,
    /// As the entry says.
    Set(Option<T>),
}

impl<T> From<Option<T>> for Own<T> {
    /// Nothing is the section's.
    fn from(own: Option<T>) -> Self {
        own.map_or(Self::Inherited, |own| Self::Set(Some(own)))
    }
}

impl<T> Own<T> {
    /// The setting, with the section's own where the entry says nothing.
    pub(super) fn or(self, section: Option<T>) -> Option<T> {
        match self {
            Self::Inherited => section,
            Self::Set(own) => own,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Own<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::Set)
    }
}

impl Default for LlmSettings {
    fn default() -> Self {
        Self {
            api_base: DEFAULT_API_BASE.to_owned(),
            api_key: None,
            models: Vec::new(),
            primary_model: None,
            primary_model_weight: 1.0,
            secondary_model: None,
            secondary_model_weight: 0.2,
            temperature: Some(0.7),
            top_p: None,
            max_tokens: Some(8192),
            reasoning_effort: None,
            seed: None,
            extra_body: Map::new(),
            stream: true,
            timeout: 120.0,
            idle_timeout: 60.0,
            retries: 3,
            retry_delay: 2.0,
            outage_patience: 600.0,
            concurrency: 8,
            proxy: None,
            environment: EnvironmentProxies::default(),
            max_cost: None,
            max_total_tokens: None,
            currency: "USD".to_owned(),
            prices: None,
            price_table: PriceTable::default(),
        }
    }
}

/// One model of the ensemble. What is absent is taken from the section around it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// The name that the endpoint knows it by.
    pub name: String,
    /// How often it is drawn, relative to the others; absent is 1.
    #[serde(default)]
    pub weight: Option<f64>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub api_base: Option<String>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub temperature: Own<f64>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub top_p: Own<f64>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub max_tokens: Own<u32>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub reasoning_effort: Own<String>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub seed: Own<Seed>,
    /// Fields of the request's body beside those of the section; `null` takes one of those out.
    #[serde(default)]
    pub extra_body: Map<String, Value>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub stream: Option<bool>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub timeout: Option<f64>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub idle_timeout: Option<f64>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub retries: Option<u32>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub retry_delay: Option<f64>,
    /// Most requests of this model under way at once, within those of its endpoint.
    #[serde(default)]
    pub concurrency: Option<usize>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub proxy: Option<Secret>,
    /// What its tokens cost; absent: as the price table says, if it says something.
    #[serde(default)]
    pub price: Option<Price>,
}

impl LlmSettings {
    /// Whether any model is named: without one the run uses rewrite rules.
    pub fn names_a_model(&self) -> bool {
        !self.models.is_empty() || self.primary_model.is_some() || self.secondary_model.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_yaml::from_str::<LlmSettings>("temprature: 1\n").is_err());
        assert!(serde_yaml::from_str::<LlmSettings>("models: [{name: a, wieght: 1}]\n").is_err());
    }
}
