//! What tokens cost: a table that comes with the program, the user's own, and what a model's settings say.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::tokens::Tokens;

const BUILT_IN: &str = include_str!("../../../data/prices.yaml");

/// What a million tokens cost.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// A million tokens sent.
    pub input: f64,
    /// A million tokens sent that the endpoint had in its cache; absent: as `input`.
    #[serde(default)]
    pub cached_input: Option<f64>,
    /// A million tokens received, reasoning included.
    pub output: f64,
}

impl Price {
    /// The price of these tokens.
    pub fn of(self, tokens: &Tokens) -> f64 {
        let cached = tokens.cached.unwrap_or(0).min(tokens.input);
        let fresh = tokens.input - cached;
        let cached_price = self.cached_input.unwrap_or(self.input);
        (self.input * fresh as f64 + cached_price * cached as f64 + self.output * tokens.output as f64) / 1e6
    }

    /// Whether it is made of finite numbers that aren't negative.
    pub(super) fn is_sound(self) -> bool {
        [self.input, self.output, self.cached_input.unwrap_or(0.0)]
            .iter()
            .all(|price| price.is_finite() && *price >= 0.0)
    }
}

/// A file of prices.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    /// What all prices in it are in, such as `USD`.
    pub currency: String,
    /// When it was collected.
    #[serde(default)]
    pub collected: Option<String>,
    /// Who sells what.
    pub endpoints: Vec<PricedEndpoint>,
}

/// A seller of tokens.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PricedEndpoint {
    /// Hosts of `api_base` that these prices are for; none: any host.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Where the prices are published.
    #[serde(default)]
    pub source: Option<String>,
    /// Prices by the model's name.
    pub models: BTreeMap<String, Price>,
}

impl Default for PriceTable {
    /// The table that comes with the program.
    fn default() -> Self {
        let read: Result<Self, _> = serde_yaml::from_str(BUILT_IN);
        // A test reads it; an empty table is what is left if that test was ignored.
        read.unwrap_or_else(|_| Self { currency: "USD".to_owned(), collected: None, endpoints: Vec::new() })
    }
}

impl PriceTable {
    /// This table with `earlier`'s entries before its own. Both must be in one currency.
    ///
    /// # Errors
    /// What is wrong with `earlier`.
    pub fn after(mut self, earlier: Self) -> Result<Self, String> {
        if let Some((name, _)) = earlier
            .endpoints
            .iter()
            .flat_map(|endpoint| &endpoint.models)
            .find(|(_, price)| !price.is_sound())
        {
            return Err(format!("the price of `{name}` must be made of numbers of 0 or more"));
        }
        if earlier.currency != self.currency {
            self.endpoints.clear();
        }
        self.endpoints.splice(0..0, earlier.endpoints);
        Ok(Self { currency: earlier.currency, ..self })
    }

    /// The price of a model at an endpoint's host, in `currency`.
    pub(super) fn price(&self, host: &str, model: &str, currency: &str) -> Option<Price> {
        if !self.currency.eq_ignore_ascii_case(currency) {
            return None;
        }
        // Gemini's endpoint takes both.
        let model = model.strip_prefix("models/").unwrap_or(model);
        let here = || {
            self.endpoints
                .iter()
                .filter(|endpoint| endpoint.hosts.is_empty() || endpoint.hosts.iter().any(|it| it == host))
        };
        let exact = here().find_map(|endpoint| endpoint.models.get(model));
        let undated = || here().find_map(|endpoint| endpoint.models.get(without_date(model)?));
        exact.or_else(undated).copied()
    }
}

/// `gpt-5` for `gpt-5-2025-08-07`, `claude-opus-4-1` for `claude-opus-4-1-20250805`.
fn without_date(model: &str) -> Option<&str> {
    let is = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            })
    };
    ["-0000-00-00", "-00000000"].iter().find_map(|form| {
        let at = model.len().checked_sub(form.len())?;
        let (name, date) = (model.get(..at)?, model.get(at..)?);
        (is(date, form) && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;

    fn tokens(input: u64, cached: Option<u64>, output: u64) -> Tokens {
        Tokens { input, cached, output, ..Tokens::default() }
    }

    #[test]
    fn the_table_that_comes_along_can_be_read_and_is_sound() {
        let table: PriceTable = serde_yaml::from_str(BUILT_IN).unwrap();
        let models: Vec<_> = table.endpoints.iter().flat_map(|endpoint| &endpoint.models).collect();
        assert!(models.len() > 40, "{}", models.len());
        for (name, price) in &models {
            assert!(
                price.is_sound() && price.input > 0.0 && price.output >= price.input,
                "{name}: {price:?}"
            );
            assert!(price.cached_input.is_none_or(|cached| cached < price.input), "{name}: {price:?}");
        }
        assert!(
            table.endpoints.iter().all(|endpoint| endpoint.source.is_some() && !endpoint.hosts.is_empty())
        );
        assert!(table.collected.is_some());
        assert_eq!(PriceTable::default(), table);
    }

    #[test]
    fn cached_tokens_have_their_own_price() {
        let price = Price { input: 2.0, cached_input: Some(0.5), output: 10.0 };
        let close = |cost: f64, expected: f64| assert!((cost - expected).abs() < 1e-12, "{cost} {expected}");
        close(price.of(&tokens(1_000_000, None, 100_000)), 3.0);
        close(price.of(&tokens(1_000_000, Some(500_000), 0)), 1.25);
        close(price.of(&tokens(10, Some(1_000_000), 0)), 5e-6);
        close(Price { cached_input: None, ..price }.of(&tokens(1_000_000, Some(500_000), 0)), 2.0);
    }

    #[test]
    fn a_price_is_the_endpoints_and_a_date_in_the_name_changes_nothing() {
        let table = PriceTable::default();
        let at = |host: &str, model: &str| table.price(host, model, "USD").map(|price| price.input);
        assert_eq!(at("api.openai.com", "gpt-5-mini"), Some(0.25));
        assert_eq!(at("api.openai.com", "gpt-5-mini-2025-08-07"), Some(0.25));
        assert_eq!(at("api.anthropic.com", "claude-opus-4-1-20250805"), Some(15.0));
        assert_eq!(at("generativelanguage.googleapis.com", "models/gemini-2.5-pro"), Some(1.25));
        for (host, model) in [
            ("localhost", "gpt-5-mini"),
            ("api.openai.com", "gpt-5-huge"),
            // No price is better than a newer version's predecessor's.
            ("api.anthropic.com", "claude-opus-5-7"),
            ("api.openai.com", "gpt-5-2025"),
            ("api.openai.com", "-2025-08-07"),
        ] {
            assert_eq!(at(host, model), None, "{host} {model}");
        }
        assert_eq!(table.price("api.openai.com", "gpt-5-mini", "EUR"), None);
    }

    #[test]
    fn ones_own_table_goes_before_and_another_currency_stands_alone() {
        let own = |yaml: &str| serde_yaml::from_str::<PriceTable>(yaml).unwrap();
        let dollars = own("{currency: USD, endpoints: [{models: {gpt-5: {input: 1, output: 2}}}]}");
        let table = PriceTable::default().after(dollars).unwrap();
        assert_eq!(table.price("api.openai.com", "gpt-5", "usd").unwrap().input, 1.0);
        assert_eq!(table.price("localhost", "gpt-5", "USD").unwrap().input, 1.0);
        assert_eq!(table.price("api.openai.com", "gpt-5-mini", "USD").unwrap().input, 0.25);
        let euros = own("{currency: EUR, endpoints: [{models: {gpt-5: {input: 3, output: 4}}}]}");
        let table = PriceTable::default().after(euros).unwrap();
        assert_eq!(table.price("localhost", "gpt-5", "EUR").unwrap().input, 3.0);
        assert_eq!(table.price("api.openai.com", "gpt-5-mini", "EUR"), None);
        let nonsense = own("{currency: USD, endpoints: [{models: {m: {input: -1, output: 4}}}]}");
        assert!(PriceTable::default().after(nonsense).unwrap_err().contains("`m`"));
    }
}
