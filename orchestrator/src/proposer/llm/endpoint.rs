//! One model at one address: its requests, the waits between them, and the count of both.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_openai::Client;
use async_openai::config::Config;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::answer::Answer;
use super::budget::{Budget, Over, Reservation, Spent};
use super::model::Model;
use super::refusal::{Blame, Next, Refusal, Scope, Streaming};
use super::settings::Seed;
use super::tokens::Tokens;
use super::transport::{Transport, from_library};
use crate::prompt::Prompt;
use crate::proposer::{ProposerError, ProposerErrorKind};

/// The wait before a retry doubles up to this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// What each level of widening adds to the temperature, and how warm it may get by that.
const WARMER: f64 = 0.1;
const WARMEST: f64 = 1.2;

/// Prompts that a model may refuse before it has answered any: then it isn't the prompts.
const REFUSALS: u32 = 3;

pub(super) struct Endpoint {
    pub(super) model: Model,
    pub(super) account: Arc<Account>,
    client: Client<Address>,
    /// The model's own limit of requests under way, within the account's.
    permits: Option<Semaphore>,
    /// How answers are asked for: less and less, as far as that is refused.
    streaming: Mutex<Streaming>,
    /// Why this model isn't asked any more.
    out: OnceLock<ProposerError>,
    has_answered: AtomicBool,
    refusals: AtomicU32,
}

/// What is asked.
pub(super) struct Asked<'a> {
    pub(super) prompt: &'a Prompt,
    pub(super) widening: u32,
    /// For an endpoint that takes a seed.
    pub(super) seed: u32,
}

/// What all requests share.
pub(super) struct Means {
    pub(super) budget: Budget,
    /// Cancelled when the run comes to its end: what isn't paid for yet isn't waited for.
    pub(super) stopping: CancellationToken,
}

/// What a prompt has taken so far, over all its requests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: u32,
    pub(super) tokens: Option<Tokens>,
    pub(super) cost: Option<f64>,
    /// Beginnings of answers that never came whole.
    pub(super) fragments: Vec<String>,
}

/// How a round of requests ended.
pub(super) enum Round {
    Answered(Answer),
    /// The endpoint works, but not for this prompt.
    GivenUp(String),
    /// The model or its account is of no use any more.
    Stopped(ProposerError, Scope),
    /// All requests of the round failed, for a reason that may pass.
    Failed {
        reason: String,
        blame: Blame,
        failures: u32,
    },
    /// No request may be made, whatever the endpoint would say.
    Halted(ProposerError),
}

/// How one request ended.
pub(super) enum Sent {
    Answered(Box<Answer>),
    Refused(Refusal),
    Halted(ProposerError),
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
    pub(super) fn new(model: Model, account: Arc<Account>) -> Result<Self, ProposerError> {
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
        let transport = Transport::new(&model)?;
        let key = model.api_key.inner().clone();
        let address = Address { api_base: model.api_base.clone(), headers, key };
        Ok(Self {
            client: Client::build(transport.client(), address).with_http_service(transport),
            account,
            permits: model.concurrency.map(Semaphore::new),
            streaming: Mutex::new(if model.stream { Streaming::WithUsage } else { Streaming::Off }),
            out: OnceLock::new(),
            has_answered: AtomicBool::new(false),
            refusals: AtomicU32::new(0),
            model,
        })
    }

    /// Why it isn't asked any more, if so.
    pub(super) fn out(&self) -> Option<&ProposerError> {
        self.out.get()
    }

    /// Takes the model out of use; whether it was in use before.
    pub(super) fn take_out(&self, error: &ProposerError) -> bool {
        self.out.set(error.clone()).is_ok()
    }

    /// At most `most` requests, with waits between them. A permit is held while a request is under way, not while waiting.
    pub(super) async fn round(
        &self,
        asked: &Asked<'_>,
        most: u32,
        means: &Means,
        rng: &mut ChaCha8Rng,
        tally: &mut Tally,
    ) -> Round {
        let mut failures = 0;
        loop {
            let streaming = self.streaming();
            let refusal = match self.send(asked, streaming, means, tally).await {
                Sent::Answered(answer) => {
                    self.has_answered.store(true, Ordering::Relaxed);
                    return Round::Answered(*answer);
                }
                Sent::Halted(error) => return Round::Halted(error),
                Sent::Refused(refusal) => refusal,
            };
            failures += 1;
            let (after, reason, blame) = match refusal.next(&self.model, streaming) {
                Next::Retry { after, reason, blame } => (after, reason, blame),
                Next::Plainer { reason } => {
                    self.ask_for_less_than(streaming);
                    if failures < most {
                        continue;
                    }
                    return Round::GivenUp(format!(
                        "the endpoint doesn't stream answers as it was asked to ({reason}); from now on it is asked for less, \
                         but llm.retries leaves no request for this prompt"
                    ));
                }
                Next::GiveUp { reason } => return self.given_up(reason),
                Next::Stop(error, scope) => return Round::Stopped(error, scope),
            };
            if failures >= most {
                return Round::Failed { reason, blame, failures };
            }
            let wait = match after {
                Some(after) => {
                    self.account.hold(after);
                    // A little later than all the others that were told the same.
                    after.mul_f64(1.0 + 0.1 * rng.random::<f64>())
                }
                None => backoff(self.model.retry_delay, failures, rng.random()),
            };
            tracing::debug!(model = %self.model.name, failures, ?wait, %reason, "request failed, trying again");
            if let Err(error) = pause(wait, means).await {
                return Round::Halted(error);
            }
        }
    }

    /// What a request with this prompt takes at most, as far as the reply is limited.
    pub(super) fn worst(&self, prompt: &Prompt) -> Tokens {
        Tokens::at_worst(prompt.bytes(), self.model.longest_reply().unwrap_or(0))
    }

    /// One request, once it is allowed; what it took goes to the tally and the budget.
    pub(super) async fn send(
        &self,
        asked: &Asked<'_>,
        streaming: Streaming,
        means: &Means,
        tally: &mut Tally,
    ) -> Sent {
        let sent_bytes = asked.prompt.bytes();
        let worst = self.worst(asked.prompt);
        let allowed = async {
            // The semaphores are never closed; without a permit there is just no limit.
            let own = match &self.permits {
                Some(permits) => permits.acquire().await.ok(),
                None => None,
            };
            let shared = self.account.permits.acquire().await.ok();
            tokio::time::sleep(self.account.held()).await;
            let room = means.budget.reserve(self.spent(&worst)).await;
            (own, shared, room)
        };
        let (_own, _shared, room) = tokio::select! {
            biased;
            () = means.stopping.cancelled() => return Sent::Halted(withdrawn()),
            allowed = allowed => allowed,
        };
        let room = match room {
            Ok(room) => room,
            Err(over) => return Sent::Halted(spent_up(over)),
        };
        let body = self.body(asked, streaming);
        tally.requests += 1;
        match self.client.chat().create_byot::<_, Value>(&body).await {
            Ok(mut body) => {
                // An answer is stored, and may become a program: a key must not travel that way.
                self.model.api_key.redact_all(&mut body);
                let answer = Answer::read(&body);
                self.book(answer.took(sent_bytes), room, tally);
                Sent::Answered(Box::new(answer))
            }
            Err(error) => {
                let refusal = from_library(error);
                if let Some(partial) = refusal.paid_for() {
                    self.book(Tokens::estimate(sent_bytes, partial.bytes), room, tally);
                    if !partial.text.is_empty() {
                        tally.fragments.push(self.model.redact(&partial.text));
                    }
                }
                Sent::Refused(refusal)
            }
        }
    }

    fn book(&self, took: Tokens, room: Reservation<'_>, tally: &mut Tally) {
        tally.tokens = Some(tally.tokens.map_or(took, |before| before + took));
        if let Some(price) = self.model.price {
            tally.cost = Some(tally.cost.unwrap_or(0.0) + price.of(&took));
        }
        room.settle(self.spent(&took));
    }

    fn spent(&self, tokens: &Tokens) -> Spent {
        Spent { cost: self.model.price.map_or(0.0, |price| price.of(tokens)), tokens: tokens.total() }
    }

    /// A prompt was refused. If the model has answered none yet, and this isn't the first refusal, it isn't the prompt.
    fn given_up(&self, reason: String) -> Round {
        let refusals = self.refusals.fetch_add(1, Ordering::Relaxed) + 1;
        if self.has_answered.load(Ordering::Relaxed) || refusals < REFUSALS {
            return Round::GivenUp(reason);
        }
        let what =
            format!("model `{}` has refused {refusals} prompts and answered none: {reason}", self.model.name);
        let hint = "check the settings of the llm section against what the endpoint accepts";
        Round::Stopped(ProposerError::setup(what, hint), Scope::Model)
    }

    /// How answers are asked for at present.
    pub(super) fn streaming(&self) -> Streaming {
        *self.streaming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on answers are asked for more plainly than it was refused.
    pub(super) fn ask_for_less_than(&self, refused: Streaming) {
        let mut streaming = self.streaming.lock().unwrap_or_else(PoisonError::into_inner);
        // Several requests may have been refused for one and the same reason.
        if *streaming == refused {
            *streaming = if refused == Streaming::WithUsage { Streaming::On } else { Streaming::Off };
            tracing::debug!(model = %self.model.name, ?streaming, "the endpoint refuses to stream as it was asked to");
        }
    }

    fn body(&self, asked: &Asked<'_>, streaming: Streaming) -> Value {
        let model = &self.model;
        // Wider changes are drawn more freely; an endpoint's own temperature is left alone, and so is one set higher.
        let warmer = |set: f64| (set + WARMER * f64::from(asked.widening)).min(WARMEST.max(set));
        let mut body = json!({
            "model": model.name,
            "messages": [
                {"role": "system", "content": asked.prompt.system},
                {"role": "user", "content": asked.prompt.user},
            ],
        });
        // OpenAI's newer models refuse the old name, other endpoints don't know the new one.
        let openai = model.api_base.starts_with("https://api.openai.com/");
        let limit = if openai { "max_completion_tokens" } else { "max_tokens" };
        let seed = model.seed.map(|seed| match seed {
            Seed::Fixed(seed) => Value::from(seed),
            // Some endpoints take 31 bits only.
            Seed::Auto => Value::from(asked.seed >> 1),
        });
        let optional = [
            ("temperature", model.temperature.map(|set| Value::from(warmer(set)))),
            ("top_p", model.top_p.map(Value::from)),
            (limit, model.max_tokens.map(Value::from)),
            ("reasoning_effort", model.reasoning_effort.clone().map(Value::from)),
            ("seed", seed),
            ("stream", (streaming > Streaming::Off).then_some(true.into())),
            ("stream_options", (streaming == Streaming::WithUsage).then(|| json!({"include_usage": true}))),
        ];
        let optional = optional.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let extra = model.extra_body.iter().map(|(key, value)| (key.as_str(), value.clone()));
        for (key, value) in optional.chain(extra) {
            body[key] = value;
        }
        body
    }
}

/// Waits, unless the run comes to its end.
pub(super) async fn pause(wait: Duration, means: &Means) -> Result<(), ProposerError> {
    tokio::select! {
        biased;
        () = means.stopping.cancelled() => Err(withdrawn()),
        () = tokio::time::sleep(wait) => Ok(()),
    }
}

/// The run ends, and nothing of this proposal is paid for that would be lost.
pub(super) fn withdrawn() -> ProposerError {
    ProposerError::new(ProposerErrorKind::Withdrawn, "the run ends", "go on with `evolve resume`")
}

fn spent_up(over: Over) -> ProposerError {
    let hint = "go on with a higher one: `evolve resume --max-cost` or `--max-total-tokens`";
    match over {
        Over::Cost { limit, spent, worst } => {
            let what = format!(
                "of llm.max_cost {limit}, {spent:.4} is spent, and the next request may cost {worst:.4}"
            );
            ProposerError::new(ProposerErrorKind::CostSpent, what, hint)
        }
        Over::Tokens { limit, spent, worst } => {
            let what = format!(
                "of llm.max_total_tokens {limit}, {spent} are spent, and the next request may take {worst}"
            );
            ProposerError::new(ProposerErrorKind::TokensSpent, what, hint)
        }
    }
}

/// Doubling with jitter: between half and all of `delay * 2^(failures - 1)`, so that many proposals that
/// failed together don't come back together.
pub(super) fn backoff(delay: Duration, failures: u32, random: f64) -> Duration {
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
