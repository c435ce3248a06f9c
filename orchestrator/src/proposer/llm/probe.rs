//! One small request to each model, to learn whether a search could ask it: `evolve doctor --endpoint`.
//!
//! It is sent by the same path and with the same settings as a search's requests, so what works here works there.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::answer::Answer;
use super::budget::{Budget, Spent};
use super::endpoint::{Asked, Endpoint, Means, Sent, Tally};
use super::model::Model;
use super::refusal::{Next, Refusal, Streaming};
use super::settings::LlmSettings;
use crate::prompt::Prompt;
use crate::proposer::{ProposerError, ProposerErrorKind};

/// Requests at most: one, and two more if an endpoint refuses to stream as it was asked to.
const REQUESTS: u32 = 3;

/// A model that is about to be asked.
pub struct Probe {
    endpoint: Endpoint,
    prompt: Prompt,
    limits: Budget,
    currency: String,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The model and where it is.
    pub whom: String,
    /// What was looked at, in the order in which a request meets it.
    pub steps: Vec<Step>,
    /// What to do, where something doesn't work.
    pub hint: Option<String>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `reachable`, `TLS`, `key`, `credit`, `model`, `settings`, `answer`, `streaming` or `cost`.
    pub subject: &'static str,
    /// How it is.
    pub state: StepState,
    /// The same in words, without secrets.
    pub words: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// It works.
    Works,
    /// It can't be told, or is no more than worth knowing.
    Open,
    /// It doesn't, and a search can't ask this model.
    Fails,
}

impl Probed {
    /// Whether a search could ask this model, as far as it was asked.
    pub fn works(&self) -> bool {
        self.steps.iter().all(|step| step.state != StepState::Fails)
    }
}

impl Probe {
    /// One for each model. Nothing is sent yet.
    ///
    /// # Errors
    /// The settings are of no use, for the reasons for which a search refuses them.
    pub fn each(settings: &LlmSettings) -> Result<Vec<Self>, ProposerError> {
        let models = settings.checked_models()?;
        models.into_iter().map(|model| Self::of(model, settings)).collect()
    }

    fn of(model: Model, settings: &LlmSettings) -> Result<Self, ProposerError> {
        let account = Arc::new(Account::new(&model, settings.concurrency));
        let prompt = Prompt {
            system: "You answer with one word.".to_owned(),
            user: "Is this message readable? Answer with the word yes.".to_owned(),
            left_out: Vec::new(),
        };
        let limits = Budget::new(settings.limits(), Spent::default());
        let currency = settings.currency.clone();
        Ok(Self { endpoint: Endpoint::new(model, account)?, prompt, limits, currency })
    }

    /// What is about to be done, and what it may cost at worst.
    pub fn announcement(&self) -> String {
        let model = &self.endpoint.model;
        let longest = model.longest_reply();
        let worst = self.endpoint.worst(&self.prompt);
        let reply = match longest {
            Some(longest) => {
                format!("a reply of at most {longest} tokens, where one word is asked for")
            }
            None => "a reply of one word, which nothing limits (no llm.max_tokens)".to_owned(),
        };
        let cost = match (model.price, longest) {
            (None, _) => "; no price is known of it".to_owned(),
            (Some(price), Some(_)) => {
                format!("; at most {} {}", short(price.of(&worst)), self.currency)
            }
            (Some(_), None) => String::new(),
        };
        format!("asking {}: one request, about {} tokens and {reply}{cost}", whom(model), worst.input)
    }

    /// Asks.
    pub async fn ask(self) -> Probed {
        let means = Means { budget: self.limits, stopping: CancellationToken::new() };
        let asked = Asked { prompt: &self.prompt, widening: 0, seed: 0 };
        let (endpoint, mut tally) = (self.endpoint, Tally::default());
        let mut found = Found::new(&endpoint.model);
        let started = Instant::now();
        loop {
            let streaming = endpoint.streaming();
            match endpoint.send(&asked, streaming, &means, &mut tally).await {
                Sent::Answered(answer) => {
                    found.answered(&answer, streaming, started.elapsed().as_secs_f64());
                    break;
                }
                Sent::Halted(error) => {
                    found.open("cost", format!("nothing was asked: {}", error.what));
                    found.hint = Some("raise llm.max_cost or llm.max_total_tokens".to_owned());
                    break;
                }
                Sent::Refused(refusal) => match refusal.next(&endpoint.model, streaming) {
                    Next::Plainer { reason } if tally.requests < REQUESTS => {
                        found.plainer = Some(reason);
                        endpoint.ask_for_less_than(streaming);
                    }
                    next => {
                        found.refused(&refusal, next);
                        break;
                    }
                },
            }
        }
        found.took(&tally, &self.currency);
        found.into_probed()
    }
}

fn whom(model: &Model) -> String {
    format!("{} at {}", model.name, model.redact(&model.api_base))
}

/// Three digits that say something, of an amount of money that may be very small.
fn short(amount: f64) -> String {
    if amount == 0.0 || amount >= 0.01 { format!("{amount:.2}") } else { format!("{amount:.7}") }
}

/// What has been found so far.
struct Found<'a> {
    model: &'a Model,
    steps: Vec<Step>,
    hint: Option<String>,
    /// Why it was asked for less than a stream with its tokens counted.
    plainer: Option<String>,
}

impl<'a> Found<'a> {
    fn new(model: &'a Model) -> Self {
        Self { model, steps: Vec::new(), hint: None, plainer: None }
    }

    fn add(&mut self, subject: &'static str, state: StepState, words: impl Into<String>) {
        self.steps.push(Step { subject, state, words: words.into() });
    }

    fn works(&mut self, subject: &'static str, words: impl Into<String>) {
        self.add(subject, StepState::Works, words);
    }

    fn open(&mut self, subject: &'static str, words: impl Into<String>) {
        self.add(subject, StepState::Open, words);
    }

    fn fails(&mut self, subject: &'static str, words: impl Into<String>) {
        self.add(subject, StepState::Fails, words);
    }

    /// Somebody there speaks HTTP.
    fn reached(&mut self) {
        self.works("reachable", "yes");
        match self.model.api_base.split("://").next() {
            Some("https") => self.works("TLS", "the certificate is accepted"),
            _ => self.open("TLS", "none: http, so whatever is sent can be read on its way"),
        }
    }

    fn key(&mut self) {
        let is_sent = !self.model.api_key.is_empty();
        self.works("key", if is_sent { "not refused" } else { "none is sent, and none is asked for" });
    }

    fn answered(&mut self, answer: &Answer, streaming: Streaming, seconds: f64) {
        self.reached();
        self.key();
        self.works("model", "known");
        match answer.text() {
            Ok(text) => {
                let word: String = text.trim().chars().take(40).collect();
                self.works("answer", format!("{word:?} after {seconds:.1} s"));
            }
            Err(reason) => self.open("answer", format!("{reason} (after {seconds:.1} s)")),
        }
        let refused = |reason: Option<&String>| reason.map_or(String::new(), |reason| format!(" ({reason})"));
        match (streaming, answer.streamed) {
            (Streaming::WithUsage, true) if answer.tokens.is_some() => {
                self.works("streaming", "yes, and tokens are counted");
            }
            (Streaming::WithUsage, true) => {
                self.open("streaming", "yes, but tokens aren't counted, so they are estimated");
            }
            (_, true) => {
                let why = refused(self.plainer.as_ref());
                self.open(
                    "streaming",
                    format!("yes, but without a count of tokens{why}: they are estimated"),
                );
            }
            (Streaming::Off, false) if self.plainer.is_none() => {
                self.open(
                    "streaming",
                    "not asked for (`stream: false`): a stalled answer is noticed at `timeout` only",
                );
            }
            (_, false) => {
                let why = refused(self.plainer.as_ref());
                self.open(
                    "streaming",
                    format!("no{why}: answers come whole, and a stalled one is noticed at `timeout` only"),
                );
            }
        }
    }

    fn refused(&mut self, refusal: &Refusal, next: Next) {
        if let Refusal::Connect(why) = refusal {
            self.connect(&self.model.redact(why));
            return;
        }
        let (words, kind) = match next {
            Next::Stop(error, _) => {
                self.hint = Some(error.hint);
                (error.what, Some(error.kind))
            }
            Next::Retry { reason, .. } | Next::GiveUp { reason } | Next::Plainer { reason } => (reason, None),
        };
        match refusal {
            Refusal::Timeout { alive: false, .. } | Refusal::Broken { .. } => {
                self.open("reachable", "a connection is made");
                self.fails("answer", words);
                self.hint = Some("check llm.api_base and llm.timeout, and whether something between here and there cuts connections".to_owned());
                return;
            }
            _ => self.reached(),
        }
        match kind {
            Some(ProposerErrorKind::WrongKey) => self.fails("key", words),
            Some(ProposerErrorKind::NotFound) => {
                self.key();
                self.fails("model", words);
            }
            Some(ProposerErrorKind::OutOfMoney) => {
                self.key();
                self.fails("credit", words);
            }
            Some(_) => {
                self.key();
                self.fails("settings", words);
            }
            None => {
                self.fails("answer", words);
                let hint = "if it is busy, try again later; else compare the settings of the llm section with what the endpoint accepts";
                self.hint = Some(hint.to_owned());
            }
        }
    }

    /// No connection, or none that could be trusted.
    fn connect(&mut self, why: &str) {
        let lower = why.to_lowercase();
        let any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let host = self.model.host();
        if any(&["certificate", "tls", "handshake", "corrupt message", "invalidcontenttype"]) {
            self.works("reachable", "somebody answers the connection");
            self.fails("TLS", why);
            self.hint = Some(
                "check that llm.api_base has the right scheme (http or https) and port, and that this machine's certificates \
                 know who signed the endpoint's (package ca-certificates)"
                    .to_owned(),
            );
        } else if any(&["dns", "lookup", "name or service", "resolve"]) {
            self.fails("reachable", format!("the name {host} can't be looked up: {why}"));
            self.hint = Some("check llm.api_base and the network".to_owned());
        } else {
            self.fails("reachable", format!("no connection to {host}: {why}"));
            self.hint = Some("check llm.api_base and the network, or start the local server".to_owned());
        }
    }

    fn took(&mut self, tally: &Tally, currency: &str) {
        let requests = match tally.requests {
            0 => return,
            1 => "1 request".to_owned(),
            more => format!("{more} requests"),
        };
        let Some(tokens) = &tally.tokens else {
            self.open("cost", format!("{requests}, refused, so most likely nothing"));
            return;
        };
        let estimated = if tokens.estimated { " (estimated)" } else { "" };
        let cost = match tally.cost {
            Some(cost) => format!("{} {currency}", short(cost)),
            None => "no price is known".to_owned(),
        };
        self.open(
            "cost",
            format!(
                "{requests}, {} tokens sent, {} received{estimated}: {cost}",
                tokens.input, tokens.output
            ),
        );
    }

    fn into_probed(self) -> Probed {
        Probed { whom: whom(self.model), steps: self.steps, hint: self.hint }
    }
}
