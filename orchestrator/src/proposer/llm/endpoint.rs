//! One model at one address: retries, waits, and the count of requests.

use std::time::Duration;

use async_openai::Client;
use async_openai::config::Config;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::answer::Answer;
use super::refusal::Next;
use super::settings::Model;
use super::transport::{Transport, from_library};
use crate::prompt::Prompt;
use crate::proposer::ProposerError;

/// The wait before a retry doubles up to this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// What each level of widening adds to the temperature, and how warm it may get by that.
const WARMER: f64 = 0.1;
const WARMEST: f64 = 1.2;

pub(super) struct Endpoint {
    pub(super) model: Model,
    client: Client<Address>,
}

/// What came of one prompt.
pub(super) struct Exchange {
    pub(super) answer: Result<Answer, ProposerError>,
    /// HTTP requests made.
    pub(super) requests: u32,
}

/// Where and as whom. The library's own config would take what is missing from the environment.
struct Address {
    api_base: String,
    headers: HeaderMap,
    key: SecretString,
}

impl Config for Address {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.api_base)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        &self.api_base
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

impl Endpoint {
    pub(super) fn new(model: Model) -> Result<Self, ProposerError> {
        let mut headers = HeaderMap::new();
        if !model.api_key.is_empty() {
            let value = format!("Bearer {}", model.api_key.expose());
            let mut value = HeaderValue::from_str(&value).map_err(|_| {
                ProposerError::setup(
                    "llm.api_key can't be sent: it is no key",
                    "check the variable it comes from",
                )
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let transport = Transport::new(&model.api_base, model.timeout, model.api_key.clone())?;
        let key = model.api_key.inner().clone();
        let address = Address { api_base: model.api_base.clone(), headers, key };
        Ok(Self { client: Client::build(transport.client(), address).with_http_service(transport), model })
    }

    /// At most `1 + retries` requests. A permit is held while a request is under way, not while waiting.
    pub(super) async fn ask(
        &self,
        prompt: &Prompt,
        widening: u32,
        permits: &Semaphore,
        rng: &mut ChaCha8Rng,
    ) -> Exchange {
        let body = self.body(prompt, widening);
        let mut requests = 0;
        loop {
            let sent = {
                // The semaphore is never closed; without a permit there is just no limit.
                let _permit = permits.acquire().await.ok();
                self.client.chat().create_byot::<_, Value>(&body).await
            };
            requests += 1;
            let refusal = match sent {
                Ok(mut body) => {
                    // An answer is stored, and may become a program: a key must not travel that way.
                    self.model.api_key.redact_all(&mut body);
                    return Exchange { answer: Ok(Answer::read(&body)), requests };
                }
                Err(error) => from_library(error),
            };
            let (after, reason) = match refusal.next(&self.model) {
                Next::Retry { after, reason } => (after, reason),
                Next::GiveUp { reason } => return Exchange { answer: Ok(Answer::nothing(reason)), requests },
                Next::Stop(error) => return Exchange { answer: Err(error), requests },
            };
            if requests > self.model.retries {
                let answer = match refusal.at_last(&self.model, requests) {
                    Some(error) => Err(error),
                    None => Ok(Answer::nothing(format!("{reason} (after {requests} requests)"))),
                };
                return Exchange { answer, requests };
            }
            let wait = after.unwrap_or_else(|| backoff(self.model.retry_delay, requests, rng.random()));
            tracing::debug!(model = %self.model.name, requests, ?wait, %reason, "request failed, trying again");
            tokio::time::sleep(wait).await;
        }
    }

    fn body(&self, prompt: &Prompt, widening: u32) -> Value {
        let model = &self.model;
        // Wider changes are drawn more freely; an endpoint's own temperature is left alone, and so is one set higher.
        let warmer = |set: f64| (set + WARMER * f64::from(widening)).min(WARMEST.max(set));
        let mut body = json!({
            "model": model.name,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ],
        });
        // OpenAI's newer models refuse the old name, other endpoints don't know the new one.
        let openai = model.api_base.starts_with("https://api.openai.com/");
        let limit = if openai { "max_completion_tokens" } else { "max_tokens" };
        let optional = [
            ("temperature", model.temperature.map(|set| Value::from(warmer(set)))),
            ("top_p", model.top_p.map(Value::from)),
            (limit, model.max_tokens.map(Value::from)),
            ("reasoning_effort", model.reasoning_effort.clone().map(Value::from)),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                body[key] = value;
            }
        }
        body
    }
}

/// Doubling with jitter: between half and all of `delay * 2^(failures - 1)`, so that many proposals that
/// failed together don't come back together.
fn backoff(delay: Duration, failures: u32, random: f64) -> Duration {
    let doubled = delay.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(LONGEST_BACKOFF).mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_with_jitter_up_to_a_minute() {
        let second = Duration::from_secs(1);
        assert_eq!(backoff(second, 1, 1.0), second);
        assert_eq!(backoff(second, 1, 0.0), second / 2);
        assert_eq!(backoff(second, 3, 1.0), 4 * second);
        assert_eq!(backoff(second, 100, 1.0), LONGEST_BACKOFF);
        assert_eq!(backoff(Duration::ZERO, 5, 0.3), Duration::ZERO);
    }
}
