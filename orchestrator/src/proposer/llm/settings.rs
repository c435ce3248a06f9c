//! The `llm` section of a config, with OpenEvolve's key names, and the checked models made of it.

use std::time::Duration;

use serde::Deserialize;

use crate::proposer::{ProposerError, Secret};

/// Where OpenAI-compatible requests go when no `api_base` is given.
pub const DEFAULT_API_BASE: &str = "https://api.openai.com/v1";

/// The `llm` section as written. Everything but the ensemble itself can be repeated per model.
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
    /// Seconds that one request may take.
    pub timeout: f64,
    /// Further requests after a failed one: 3 means 4 requests in total.
    pub retries: u32,
    /// Seconds before the first retry; doubles with each, with jitter. `Retry-After` goes before it.
    pub retry_delay: f64,
    /// Most requests under way at once.
    pub concurrency: usize,
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
            timeout: 120.0,
            retries: 3,
            retry_delay: 2.0,
            concurrency: 8,
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
    pub temperature: Option<f64>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub top_p: Option<f64>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub reasoning_effort: Option<String>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub timeout: Option<f64>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub retries: Option<u32>,
    /// As in [`LlmSettings`].
    #[serde(default)]
    pub retry_delay: Option<f64>,
    /// What its tokens cost; without it the cost of a proposal is unknown.
    #[serde(default)]
    pub price: Option<Price>,
}

/// What a million tokens cost, in any one currency.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// A million tokens sent.
    pub input: f64,
    /// A million tokens received.
    pub output: f64,
}

impl Price {
    /// The price of one exchange.
    pub fn of(self, tokens_in: u64, tokens_out: u64) -> f64 {
        (self.input * tokens_in as f64 + self.output * tokens_out as f64) / 1e6
    }
}

/// A model with everything decided and checked.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) weight: f64,
    pub(crate) api_base: String,
    pub(crate) api_key: Secret,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) reasoning_effort: Option<String>,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) retry_delay: Duration,
    pub(crate) price: Option<Price>,
}

impl LlmSettings {
    /// Whether any model is named: without one the run uses rewrite rules.
    pub fn names_a_model(&self) -> bool {
        !self.models.is_empty() || self.primary_model.is_some() || self.secondary_model.is_some()
    }

    /// Checks everything that can be checked without asking an endpoint.
    pub fn check(&self) -> Result<(), ProposerError> {
        self.checked_models().map(|_| ())
    }

    pub(crate) fn checked_models(&self) -> Result<Vec<Model>, ProposerError> {
        let short = [
            (self.primary_model.as_ref(), self.primary_model_weight),
            (self.secondary_model.as_ref(), self.secondary_model_weight),
        ];
        let short = short.into_iter().filter_map(|(name, weight)| {
            let name = name?.clone();
            Some(ModelSettings { name, weight: Some(weight), ..ModelSettings::default() })
        });
        let models: Vec<Model> = self
            .models
            .iter()
            .cloned()
            .chain(short)
            .map(|model| self.checked(model))
            .collect::<Result<_, _>>()?;
        if models.is_empty() {
            return Err(ProposerError::setup(
                "no language model is configured",
                "name one under llm.models, or use the rewrite proposer, which needs none",
            ));
        }
        if models.iter().all(|model| model.weight == 0.0) {
            return Err(ProposerError::setup(
                "all models have weight 0",
                "give at least one entry of llm.models a positive weight",
            ));
        }
        if self.concurrency == 0 {
            return Err(ProposerError::setup("llm.concurrency is 0", "set it to 1 or more"));
        }
        Ok(models)
    }

    fn checked(&self, model: ModelSettings) -> Result<Model, ProposerError> {
        let name = model.name.trim().to_owned();
        let wrong = |key: &str, value: &dyn std::fmt::Display, hint: &str| {
            Err(ProposerError::setup(format!("llm: {key} of model `{name}` is {value}"), hint.to_owned()))
        };
        if name.is_empty() {
            return Err(ProposerError::setup(
                "a model in llm.models has no name",
                "give it its name at the endpoint",
            ));
        }
        let api_base = model.api_base.unwrap_or_else(|| self.api_base.clone());
        match reqwest::Url::parse(&api_base) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {}
            _ => {
                return wrong(
                    "api_base",
                    &format!("`{api_base}`"),
                    "write a URL such as https://api.openai.com/v1",
                );
            }
        }
        let weight = model.weight.unwrap_or(1.0);
        if !(weight.is_finite() && weight >= 0.0) {
            return wrong("weight", &weight, "use a number that isn't negative");
        }
        let temperature = model.temperature.or(self.temperature);
        if let Some(value) = temperature.filter(|t| !(0.0..=2.0).contains(t)) {
            return wrong("temperature", &value, "use a number from 0 to 2, or null for the endpoint's own");
        }
        let top_p = model.top_p.or(self.top_p);
        if let Some(value) = top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return wrong("top_p", &value, "use a number above 0 and at most 1, or leave it out");
        }
        let timeout = model.timeout.unwrap_or(self.timeout);
        if !(timeout > 0.0 && timeout <= 86_400.0) {
            return wrong("timeout", &timeout, "use seconds, more than 0 and at most a day");
        }
        let retry_delay = model.retry_delay.unwrap_or(self.retry_delay);
        if !(0.0..=600.0).contains(&retry_delay) {
            return wrong("retry_delay", &retry_delay, "use seconds, from 0 to 600");
        }
        let retries = model.retries.unwrap_or(self.retries);
        if retries > 100 {
            return wrong("retries", &retries, "use at most 100");
        }
        if let Some(price) = model.price
            && !(price.input >= 0.0 && price.output >= 0.0 && (price.input + price.output).is_finite())
        {
            return wrong("price", &"not a price", "give input and output per million tokens, 0 or more");
        }
        let api_key = model.api_key.or_else(|| self.api_key.clone()).unwrap_or_default();
        if !api_key.expose().chars().all(|c| c.is_ascii_graphic()) {
            return wrong(
                "api_key",
                &"not a key: it holds spaces or letters that no key has",
                "check the variable it comes from",
            );
        }
        Ok(Model {
            weight,
            api_base: api_base.trim_end_matches('/').to_owned(),
            api_key,
            temperature,
            top_p,
            max_tokens: model.max_tokens.or(self.max_tokens),
            reasoning_effort: model.reasoning_effort.or_else(|| self.reasoning_effort.clone()),
            timeout: Duration::from_secs_f64(timeout),
            retries,
            retry_delay: Duration::from_secs_f64(retry_delay),
            price: model.price,
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> LlmSettings {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[test]
    fn a_model_takes_from_the_section_what_it_does_not_say_itself() {
        let settings = parse(
            "api_base: http://localhost:11434/v1/\ntemperature: 0.2\nretries: 1\nmodels:\n- name: a\n- {name: b, weight: 0.5, temperature: 1.0}\n",
        );
        let models = settings.checked_models().unwrap();
        assert_eq!(models[0].api_base, "http://localhost:11434/v1");
        assert_eq!((models[0].temperature, models[0].weight, models[0].retries), (Some(0.2), 1.0, 1));
        assert_eq!((models[1].temperature, models[1].weight), (Some(1.0), 0.5));
    }

    #[test]
    fn openevolves_primary_and_secondary_models_join_the_ensemble() {
        let models = parse("primary_model: a\nsecondary_model: b\n").checked_models().unwrap();
        assert_eq!(
            models.iter().map(|m| (m.name.as_str(), m.weight)).collect::<Vec<_>>(),
            [("a", 1.0), ("b", 0.2)]
        );
    }

    #[test]
    fn a_key_is_not_in_the_debug_text_of_the_settings() {
        let settings = parse("api_key: sk-very-secret\nmodels: [{name: a, api_key: sk-other-secret}]\n");
        let text = format!("{settings:?} {:?}", settings.checked_models().unwrap());
        assert!(!text.contains("secret\"") && !text.contains("sk-"), "{text}");
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_yaml::from_str::<LlmSettings>("temprature: 1\n").is_err());
        assert!(serde_yaml::from_str::<LlmSettings>("models: [{name: a, wieght: 1}]\n").is_err());
    }

    #[test]
    fn nonsense_is_refused_with_a_hint() {
        for yaml in [
            "models: []",
            "models: [{name: ''}]",
            "models: [{name: a, weight: 0}]",
            "models: [{name: a, weight: -1}]",
            "models: [{name: a, weight: .nan}]",
            "models: [{name: a}]\ntemperature: 3",
            "models: [{name: a}]\ntop_p: 0",
            "models: [{name: a}]\ntimeout: 0",
            "models: [{name: a}]\nretry_delay: -1",
            "models: [{name: a}]\nretries: 1000",
            "models: [{name: a}]\nconcurrency: 0",
            "models: [{name: a}]\napi_base: localhost:8080",
            "models: [{name: a}]\napi_key: 'two words'",
            "models: [{name: a, price: {input: -1, output: 0}}]",
        ] {
            let error = parse(yaml).check().expect_err(yaml);
            assert!(!error.hint.is_empty() && !error.what.is_empty(), "{yaml}");
        }
    }
}
