//! A model with everything decided and checked, made of the section and its own entry.

use std::time::Duration;

use serde_json::{Map, Value};

use super::budget::Limits;
use super::price::Price;
use super::proxy::EnvironmentProxies;
use super::settings::{LlmSettings, ModelSettings, Seed};
use crate::proposer::{ProposerError, Secret};

/// Keys of a request's body that are ours to set.
const OUR_OWN: [&str; 5] = ["model", "messages", "stream", "stream_options", "n"];

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
    pub(crate) seed: Option<Seed>,
    pub(crate) extra_body: Map<String, Value>,
    pub(crate) stream: bool,
    pub(crate) timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) retry_delay: Duration,
    pub(crate) concurrency: Option<usize>,
    pub(crate) proxy: Option<Secret>,
    pub(crate) environment: EnvironmentProxies,
    pub(crate) price: Option<Price>,
}

impl Model {
    /// Its endpoint's host.
    pub(crate) fn host(&self) -> String {
        let url = reqwest::Url::parse(&self.api_base).ok();
        url.as_ref().and_then(reqwest::Url::host_str).unwrap_or_default().to_owned()
    }

    /// `text` without this model's secrets, should somebody have echoed them.
    pub(super) fn redact(&self, text: &str) -> String {
        let text = self.api_key.redact(text);
        self.proxy.as_ref().map_or_else(|| text.clone(), |proxy| proxy.redact(&text))
    }

    /// The longest reply that it may give, in tokens, where something limits it.
    pub(super) fn longest_reply(&self) -> Option<u64> {
        let extra = ["max_completion_tokens", "max_tokens"]
            .iter()
            .find_map(|key| self.extra_body.get(*key)?.as_u64());
        extra.or(self.max_tokens.map(u64::from))
    }
}

/// The models that no price is known of.
pub(crate) fn unpriced(models: &[Model]) -> Vec<&str> {
    models.iter().filter(|model| model.price.is_none()).map(|model| model.name.as_str()).collect()
}

impl LlmSettings {
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
        if !(0.0..=86_400.0).contains(&self.outage_patience) {
            let what = format!("llm.outage_patience is {}", self.outage_patience);
            return Err(ProposerError::setup(what, "use seconds, from 0 to a day"));
        }
        self.check_budget(&models)?;
        Ok(models)
    }

    /// What the run may spend.
    pub(super) fn limits(&self) -> Limits {
        Limits { cost: self.max_cost, tokens: self.max_total_tokens }
    }

    /// A budget needs to know what a request may take at worst.
    fn check_budget(&self, models: &[Model]) -> Result<(), ProposerError> {
        let wrong = |what: String, hint: &str| Err(ProposerError::setup(what, hint));
        if let Some(cost) = self.max_cost.filter(|cost| !(cost.is_finite() && *cost > 0.0)) {
            return wrong(format!("llm.max_cost is {cost}"), "use a number above 0, or leave it out");
        }
        if self.max_total_tokens == Some(0) {
            return wrong("llm.max_total_tokens is 0".to_owned(), "use a number above 0, or leave it out");
        }
        let (cost, tokens) = (self.max_cost.is_some(), self.max_total_tokens.is_some());
        if let (true, Some(name)) = (cost, unpriced(models).first()) {
            return wrong(
                format!(
                    "llm.max_cost is set, and no price in {} is known of the model `{name}`",
                    self.currency
                ),
                "give it one, such as `price: { input: 0.25, output: 2.0 }` for a million tokens (0 and 0 if it is free), or use max_total_tokens",
            );
        }
        match models.iter().find(|model| (cost || tokens) && model.longest_reply().is_none()) {
            Some(model) => wrong(
                format!(
                    "llm.max_cost and max_total_tokens need a longest reply, and `{}` has none",
                    model.name
                ),
                "set max_tokens, for example to 8192",
            ),
            None => Ok(()),
        }
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
        let idle_timeout = model.idle_timeout.unwrap_or(self.idle_timeout);
        if !(idle_timeout > 0.0 && idle_timeout <= 86_400.0) {
            return wrong("idle_timeout", &idle_timeout, "use seconds, more than 0 and at most a day");
        }
        if model.concurrency == Some(0) {
            return wrong("concurrency", &0, "use 1 or more");
        }
        let mut extra_body = self.extra_body.clone();
        for (key, value) in model.extra_body {
            extra_body.insert(key, value);
        }
        extra_body.retain(|_, value| !value.is_null());
        if let Some(key) = OUR_OWN.iter().find(|key| extra_body.contains_key(**key)) {
            return wrong("extra_body", &format!("not only extra: it sets `{key}`"), "leave that to evolve");
        }
        let retry_delay = model.retry_delay.unwrap_or(self.retry_delay);
        if !(0.0..=600.0).contains(&retry_delay) {
            return wrong("retry_delay", &retry_delay, "use seconds, from 0 to 600");
        }
        let retries = model.retries.unwrap_or(self.retries);
        if retries > 100 {
            return wrong("retries", &retries, "use at most 100");
        }
        if model.price.is_some_and(|price| !price.is_sound()) {
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
        let mut checked = Model {
            weight,
            api_base: api_base.trim_end_matches('/').to_owned(),
            api_key,
            temperature,
            top_p,
            max_tokens: model.max_tokens.or(self.max_tokens),
            reasoning_effort: model.reasoning_effort.or(self.reasoning_effort.clone()),
            seed: model.seed.or(self.seed),
            extra_body,
            stream: model.stream.unwrap_or(self.stream),
            timeout: Duration::from_secs_f64(timeout),
            idle_timeout: Duration::from_secs_f64(idle_timeout),
            retries,
            retry_delay: Duration::from_secs_f64(retry_delay),
            concurrency: model.concurrency,
            proxy: model.proxy.or_else(|| self.proxy.clone()),
            environment: self.environment.clone(),
            price: model.price,
            name,
        };
        checked.price =
            checked.price.or_else(|| self.price_table.price(&checked.host(), &checked.name, &self.currency));
        Ok(checked)
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
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
    fn null_leaves_to_the_endpoint_what_the_section_sets() {
        let settings = parse(
            "temperature: 0.2\nmax_tokens: 100\nextra_body: {a: 1, b: 2}\nmodels:\n- {name: a, temperature: null, max_tokens: null, extra_body: {a: null, c: [3]}}\n- {name: b, seed: 7}\n- {name: c, seed: auto}\n",
        );
        let models = settings.checked_models().unwrap();
        assert_eq!((models[0].temperature, models[0].max_tokens), (None, None));
        assert_eq!(Value::from(models[0].extra_body.clone()), serde_json::json!({"b": 2, "c": [3]}));
        assert_eq!((models[1].temperature, models[1].max_tokens), (Some(0.2), Some(100)));
        let seeds: Vec<_> = models.iter().map(|model| model.seed).collect();
        assert_eq!(seeds, [None, Some(Seed::Fixed(7)), Some(Seed::Auto)]);
        assert!(serde_yaml::from_str::<LlmSettings>("seed: random\n").is_err());
    }

    #[test]
    fn a_price_is_the_entrys_own_or_the_tables() {
        let models =
            parse("models: [{name: gpt-5-mini}, {name: gpt-5, price: {input: 1, output: 2}}, {name: who}]")
                .checked_models()
                .unwrap();
        let prices: Vec<_> = models.iter().map(|model| model.price.map(|price| price.input)).collect();
        assert_eq!(prices, [Some(0.25), Some(1.0), None]);
        let elsewhere = parse("api_base: http://localhost:1/v1\nmodels: [{name: gpt-5-mini}]");
        assert_eq!(elsewhere.checked_models().unwrap()[0].price, None, "another's endpoint has other prices");
    }

    #[test]
    fn a_budget_needs_prices_and_a_longest_reply() {
        let message = |yaml: &str| parse(yaml).check().unwrap_err().to_string();
        assert!(message("models: [{name: gpt-5}, {name: who}]\nmax_cost: 5").contains("`who`"));
        assert!(message("models: [{name: gpt-5}]\nmax_cost: 5\ncurrency: EUR").contains("EUR"));
        assert!(message("models: [{name: gpt-5, max_tokens: null}]\nmax_cost: 5").contains("longest reply"));
        for yaml in [
            "models: [{name: gpt-5}]\nmax_cost: 5",
            "models: [{name: who}]\nmax_total_tokens: 5000",
            "models: [{name: who, price: {input: 0, output: 0}}]\nmax_cost: 5",
            "models: [{name: gpt-5, max_tokens: null, extra_body: {max_completion_tokens: 50}}]\nmax_cost: 5",
        ] {
            assert_eq!(parse(yaml).check(), Ok(()), "{yaml}");
        }
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
            "models: [{name: a}]\nidle_timeout: 0",
            "models: [{name: a}]\noutage_patience: -1",
            "models: [{name: a, concurrency: 0}]",
            "models: [{name: a, extra_body: {messages: []}}]",
            "models: [{name: a}]\nextra_body: {stream: false}",
            "models: [{name: a}]\nmax_cost: 5",
            "models: [{name: a, price: {input: 1, output: 1}}]\nmax_cost: 0",
            "models: [{name: a, price: {input: 1, output: 1}, max_tokens: null}]\nmax_cost: 1",
            "models: [{name: a}]\nmax_total_tokens: 0",
            "models: [{name: a}]\nmax_tokens: null\nmax_total_tokens: 10",
        ] {
            let error = parse(yaml).check().expect_err(yaml);
            assert!(!error.hint.is_empty() && !error.what.is_empty(), "{yaml}");
        }
    }
}
