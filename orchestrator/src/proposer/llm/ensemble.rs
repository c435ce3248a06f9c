//! All models of a run: who is asked, who is asked instead when an endpoint breaks, and how long one that is down is waited for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use search::Outcome;
use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::answer::Answer;
use super::budget::{Budget, Spent};
use super::endpoint::{Asked, Endpoint, Means, Round, Tally, backoff, pause, withdrawn};
use super::health::{State, Verdict};
use super::refusal::{Blame, Scope, unreachable};
use super::settings::LlmSettings;
use super::tokens::Tokens;
use crate::event::{Event, Events};
use crate::prompt::Prompt;
use crate::proposer::replay::{PROPOSAL, Recorder, Recording, Replayed, StoredReply};
use crate::proposer::{Proposal, ProposerError};

/// What a proposer of a run gets beside its settings.
#[derive(Debug, Clone, Default)]
pub struct RunContext {
    /// Who hears of endpoints that break.
    pub events: Events,
    /// Cancelled when the run comes to its end: what isn't paid for yet isn't waited for.
    pub stopping: CancellationToken,
    /// What earlier sessions of the run spent.
    pub spent: Spent,
    /// Keeps every reply.
    pub recorder: Option<Arc<Recorder>>,
}

/// Answers prompts, by models or from a recording.
pub(super) struct Ensemble {
    source: Source,
    means: Means,
    events: Events,
    recorder: Option<Arc<Recorder>>,
    patience: Duration,
    settings: LlmSettings,
}

enum Source {
    Endpoints(Vec<Endpoint>),
    Recording(Box<Recording>),
}

/// Who asks, and for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// What the answer is for; together with the number it finds the answer in a recording.
    pub(super) purpose: &'static str,
    /// The proposal's number.
    pub(super) number: u64,
    /// The model to ask, where somebody wants a certain one; else one is drawn by weight.
    pub(super) model: Option<&'a str>,
    /// How much more freely than usual to answer.
    pub(super) widening: u32,
}

/// The answer to one prompt, and what it took.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The text, or why there is none.
    pub(super) answer: Answer,
    /// Who answered.
    pub(super) model: Option<String>,
    /// Over all requests.
    pub(super) tokens: Option<Tokens>,
    /// Over all requests, where a price is known.
    pub(super) cost: Option<f64>,
    /// From the first request to the last byte, waits included.
    pub(super) latency: Duration,
    /// HTTP requests made, failed ones included.
    pub(super) requests: u32,
    /// Beginnings of answers that never came whole.
    pub(super) fragments: Vec<String>,
    /// Written by hand: it may be of any form.
    pub(super) any_form: bool,
}

/// Whom to ask next.
enum Choice<'a> {
    /// A working one, with all requests that it may get.
    Ask(&'a Endpoint),
    /// One that is down, with one request: it is this prompt's turn to look.
    Look(&'a Endpoint, tokio::sync::MutexGuard<'a, ()>),
    /// One that is down; it is somebody else's turn, or too early.
    Wait(&'a Endpoint),
}

impl Ensemble {
    /// Asks models. Talks to nobody yet.
    pub(super) fn of_models(settings: &LlmSettings) -> Result<Self, ProposerError> {
        let mut accounts: Vec<Arc<Account>> = Vec::new();
        let mut endpoints = Vec::new();
        for model in settings.checked_models()? {
            let account = accounts.iter().find(|account| account.is_of(&model)).cloned();
            let account = account.unwrap_or_else(|| {
                accounts.push(Arc::new(Account::new(&model, settings.concurrency)));
                accounts[accounts.len() - 1].clone()
            });
            endpoints.push(Endpoint::new(model, account)?);
        }
        Ok(Self::new(Source::Endpoints(endpoints), settings))
    }

    /// Answers from a recording.
    pub(super) fn of_recording(recording: Recording) -> Self {
        Self::new(Source::Recording(Box::new(recording)), &LlmSettings::default())
    }

    fn new(source: Source, settings: &LlmSettings) -> Self {
        Self {
            source,
            means: Means {
                budget: Budget::new(settings.limits(), Spent::default()),
                stopping: CancellationToken::new(),
            },
            events: Events::default(),
            recorder: None,
            patience: Duration::from_secs_f64(settings.outage_patience),
            settings: settings.clone(),
        }
    }

    /// The same within a run.
    pub(super) fn within(self, context: RunContext) -> Self {
        let RunContext { events, stopping, spent, recorder } = context;
        let budget = Budget::new(self.settings.limits(), spent);
        Self { means: Means { budget, stopping }, events, recorder, ..self }
    }

    /// Asks one prompt: of one model, with at most `1 + retries` requests, and of another one where that breaks.
    ///
    /// # Errors
    /// Nobody can be asked any more: no model is left, the budget is spent, or the run ends.
    pub(super) async fn ask(
        &self,
        prompt: &Prompt,
        call: Call<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Exchange, ProposerError> {
        // One draw for all that depends on how the network behaves: what is drawn afterwards must not.
        let mut own = ChaCha8Rng::seed_from_u64(rng.next_u64());
        match &self.source {
            Source::Recording(recording) => recording.answer(call.purpose, call.number).map(replayed),
            Source::Endpoints(endpoints) => {
                let exchange = self.ask_endpoints(endpoints, prompt, call, &mut own).await?;
                if let Some(recorder) = &self.recorder
                    && let Some(trouble) = recorder.keep(exchange.to_stored(call))
                {
                    self.say(trouble);
                }
                Ok(exchange)
            }
        }
    }

    async fn ask_endpoints(
        &self,
        endpoints: &[Endpoint],
        prompt: &Prompt,
        call: Call<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Exchange, ProposerError> {
        let started = Instant::now();
        let asked = Asked { prompt, widening: call.widening, seed: rng.random() };
        let mut tally = Tally::default();
        let (endpoint, answer) = loop {
            let (endpoint, round, looked) = match choose(endpoints, call.model, rng)? {
                Choice::Ask(endpoint) => {
                    let before = endpoint.account.answers();
                    let most = 1 + endpoint.model.retries;
                    (endpoint, endpoint.round(&asked, most, &self.means, rng, &mut tally).await, Err(before))
                }
                looking => {
                    let (endpoint, turn) = match looking {
                        Choice::Look(endpoint, turn) => (endpoint, Some(turn)),
                        Choice::Wait(endpoint) | Choice::Ask(endpoint) => {
                            (endpoint, self.wait_for(endpoint).await?)
                        }
                    };
                    let Some(turn) = turn else { continue };
                    let round = endpoint.round(&asked, 1, &self.means, rng, &mut tally).await;
                    self.note_look(endpoint, &round, rng);
                    (endpoint, round, Ok(turn))
                }
            };
            match round {
                Round::Answered(answer) => {
                    self.works(endpoint);
                    break (endpoint, answer);
                }
                Round::GivenUp(reason) => {
                    self.works(endpoint);
                    break (endpoint, Answer::nothing(reason, whole(&tally)));
                }
                Round::Halted(error) => return Err(error),
                Round::Stopped(error, scope) => self.take_out(endpoints, endpoint, &error, scope),
                Round::Failed { reason, blame, failures } => {
                    let verdict = match &looked {
                        Ok(_) => endpoint.account.exhausted(blame, u64::MAX),
                        Err(before) => endpoint.account.exhausted(blame, *before),
                    };
                    match verdict {
                        Verdict::Prompt => {
                            self.works(endpoint);
                            let reason = format!("{reason} (after {} requests)", tally.requests);
                            break (endpoint, Answer::nothing(reason, whole(&tally)));
                        }
                        Verdict::Outage if looked.is_ok() => {}
                        Verdict::Outage => self.goes_down(endpoint, failures, &reason, rng),
                        Verdict::Dead => {
                            let error = unreachable(&endpoint.model, &reason, tally.requests);
                            self.take_out(endpoints, endpoint, &error, Scope::Account);
                        }
                    }
                }
            }
        };
        Ok(Exchange {
            answer,
            model: Some(endpoint.model.name.clone()),
            tokens: tally.tokens,
            cost: tally.cost,
            latency: started.elapsed(),
            requests: tally.requests,
            fragments: tally.fragments,
            any_form: false,
        })
    }

    /// Waits for the turn to look whether an account is back, and until it is time for that. None: no need to look any more.
    async fn wait_for<'a>(
        &self,
        endpoint: &'a Endpoint,
    ) -> Result<Option<tokio::sync::MutexGuard<'a, ()>>, ProposerError> {
        let account = &endpoint.account;
        let turn = tokio::select! {
            biased;
            () = self.means.stopping.cancelled() => return Err(withdrawn()),
            turn = account.turn.lock() => turn,
        };
        let State::Down { since, next, failures, reason } = account.state() else { return Ok(None) };
        let end = since + self.patience;
        pause(next.min(end).saturating_duration_since(Instant::now()), &self.means).await?;
        if Instant::now() >= end {
            let error = unreachable(&endpoint.model, &reason, failures);
            if account.take_out(&error) {
                self.say(format!("{}; it was waited for {} s", error.what, self.patience.as_secs()));
            }
            return Ok(None);
        }
        Ok(Some(turn))
    }

    /// What a look at an account showed, before its turn is given on.
    fn note_look(&self, endpoint: &Endpoint, round: &Round, rng: &mut ChaCha8Rng) {
        match round {
            Round::Answered(_) | Round::GivenUp(_) | Round::Failed { blame: Blame::Prompt, .. } => {
                self.works(endpoint);
            }
            Round::Failed { reason, failures, .. } => still_down(endpoint, *failures, reason, rng),
            Round::Stopped(..) | Round::Halted(_) => {}
        }
    }

    fn works(&self, endpoint: &Endpoint) {
        let was_down = matches!(endpoint.account.state(), State::Down { .. });
        endpoint.account.answered();
        if was_down {
            self.say(format!("{} answers again", endpoint.model.api_base));
        }
    }

    fn goes_down(&self, endpoint: &Endpoint, failures: u32, reason: &str, rng: &mut ChaCha8Rng) {
        let was_down = matches!(endpoint.account.state(), State::Down { .. });
        still_down(endpoint, failures, reason, rng);
        if !was_down && !self.patience.is_zero() {
            self.say(format!(
                "{} doesn't answer ({reason}); proposals wait for it, up to {} s, and none is lost",
                endpoint.model.api_base,
                self.patience.as_secs()
            ));
        }
    }

    /// Does without a model or an account from now on. The last one's error is the run's, and said as such.
    fn take_out(&self, all: &[Endpoint], endpoint: &Endpoint, error: &ProposerError, scope: Scope) {
        let was_in = match scope {
            Scope::Model => endpoint.take_out(error),
            Scope::Account => endpoint.account.take_out(error),
        };
        if was_in && all.iter().any(is_in) {
            let who = match scope {
                Scope::Model => format!("model `{}`", endpoint.model.name),
                Scope::Account => format!("the endpoint {}", endpoint.model.api_base),
            };
            self.say(format!(
                "{who} is not asked any more, the others go on: {} ({})",
                error.what, error.hint
            ));
        }
    }

    fn say(&self, message: String) {
        self.events.send(Event::Warning { message });
    }
}

impl Exchange {
    /// As it is kept in a recording.
    fn to_stored(&self, call: Call<'_>) -> StoredReply {
        let (reply, cut_off, reason) = self.answer.to_stored();
        let tokens = self.tokens.as_ref();
        StoredReply {
            number: Some(call.number),
            purpose: (call.purpose != PROPOSAL).then(|| call.purpose.to_owned()),
            call: None,
            model: self.model.clone(),
            reply,
            cut_off,
            reason,
            tokens_in: tokens.map(|tokens| tokens.input),
            tokens_out: tokens.map(|tokens| tokens.output),
            tokens_cached: tokens.and_then(|tokens| tokens.cached),
            tokens_reasoning: tokens.and_then(|tokens| tokens.reasoning),
            tokens_estimated: tokens.is_some_and(|tokens| tokens.estimated),
            cost: self.cost,
            latency_seconds: Some(self.latency.as_secs_f64()),
            requests: self.requests,
        }
    }

    /// The proposal that it led to, but for how it was asked.
    pub(super) fn into_proposal(self, proposer: &'static str, change: Result<String, Outcome>) -> Proposal {
        let tokens = self.tokens.as_ref();
        Proposal {
            model: self.model.clone(),
            reply: self.reply(),
            tokens_in: tokens.map(|tokens| tokens.input),
            tokens_out: tokens.map(|tokens| tokens.output),
            tokens_cached: tokens.and_then(|tokens| tokens.cached),
            tokens_reasoning: tokens.and_then(|tokens| tokens.reasoning),
            tokens_estimated: tokens.is_some_and(|tokens| tokens.estimated),
            cost: self.cost,
            latency: self.latency,
            requests: self.requests,
            ..Proposal::offline(proposer, String::new(), change)
        }
    }

    /// What to store as the reply: nothing that was paid for is lost.
    pub(super) fn reply(&self) -> Option<String> {
        let (text, _, reason) = self.answer.to_stored();
        if reason.is_some() || self.fragments.is_empty() {
            return text;
        }
        let mut parts = self.fragments.clone();
        parts.extend(text);
        Some(parts.join("\n[broken off; asked again]\n"))
    }
}

fn still_down(endpoint: &Endpoint, failures: u32, reason: &str, rng: &mut ChaCha8Rng) {
    let random = rng.random();
    let wait = |failures| backoff(endpoint.model.retry_delay, failures, random);
    endpoint.account.failed(failures, reason, wait);
}

/// The beginnings of answers that never came whole, as one text.
fn whole(tally: &Tally) -> Option<String> {
    (!tally.fragments.is_empty()).then(|| tally.fragments.join("\n[broken off; asked again]\n"))
}

fn is_in(endpoint: &Endpoint) -> bool {
    endpoint.out().is_none() && !matches!(endpoint.account.state(), State::Out(_))
}

/// The model that is named if it can be asked now, else one drawn by weight from those that can.
fn choose<'a>(
    endpoints: &'a [Endpoint],
    named: Option<&str>,
    rng: &mut ChaCha8Rng,
) -> Result<Choice<'a>, ProposerError> {
    let now = Instant::now();
    let is_named = |endpoint: &Endpoint| Some(endpoint.model.name.as_str()) == named;
    let is_down = |endpoint: &Endpoint| matches!(endpoint.account.state(), State::Down { .. });
    let may_look =
        |endpoint: &Endpoint| matches!(endpoint.account.state(), State::Down { next, .. } if next <= now);
    let left: Vec<&Endpoint> =
        endpoints.iter().filter(|it| is_in(it) && (it.model.weight > 0.0 || is_named(it))).collect();
    let ready: Vec<&Endpoint> = left.iter().copied().filter(|it| !is_down(it) || may_look(it)).collect();
    let candidates = if ready.is_empty() { &left } else { &ready };
    let wanted: Vec<&Endpoint> = candidates.iter().copied().filter(|it| is_named(it)).collect();
    let Some(drawn) = draw(if wanted.is_empty() { candidates } else { &wanted }, rng) else {
        return Err(nobody_left(endpoints));
    };
    if !is_down(drawn) {
        return Ok(Choice::Ask(drawn));
    }
    if may_look(drawn)
        && let Ok(turn) = drawn.account.turn.try_lock()
    {
        return Ok(Choice::Look(drawn, turn));
    }
    // Somebody else is looking; with another one that works there is no need to wait for what it finds.
    let working: Vec<&Endpoint> = left.iter().copied().filter(|it| !is_down(it)).collect();
    Ok(draw(&working, rng).map_or(Choice::Wait(drawn), Choice::Ask))
}

fn draw<'a>(from: &[&'a Endpoint], rng: &mut ChaCha8Rng) -> Option<&'a Endpoint> {
    let total: f64 = from.iter().map(|endpoint| endpoint.model.weight).sum();
    let mut left = rng.random::<f64>() * total;
    let drawn = from.iter().find(|endpoint| {
        left -= endpoint.model.weight;
        left < 0.0
    });
    // Rounding may leave a crumb past the last weight; and one that is named may have none.
    drawn
        .or_else(|| from.iter().rfind(|endpoint| endpoint.model.weight > 0.0))
        .or_else(|| from.first())
        .copied()
}

/// Why no model can be asked. With several, each one's reason.
fn nobody_left(endpoints: &[Endpoint]) -> ProposerError {
    let mut errors: Vec<ProposerError> = Vec::new();
    for endpoint in endpoints {
        let error = match (endpoint.out(), endpoint.account.state()) {
            (Some(error), _) => error.clone(),
            (None, State::Out(error)) => error,
            (None, _) => continue,
        };
        if !errors.contains(&error) {
            errors.push(error);
        }
    }
    let Some(first) = errors.first().cloned() else {
        return ProposerError::setup("no language model is configured", "name one under llm.models");
    };
    let all: Vec<&str> = errors.iter().map(|error| error.what.as_str()).collect();
    let what = if all.len() == 1 { first.what } else { format!("no model is left:\n  {}", all.join("\n  ")) };
    ProposerError { what, ..first }
}

fn replayed(replayed: Replayed<'_>) -> Exchange {
    let Replayed { stored, by_hand } = replayed;
    Exchange {
        answer: Answer::from_stored(stored),
        model: stored.model.clone(),
        tokens: stored.tokens(),
        cost: stored.cost,
        latency: Duration::try_from_secs_f64(stored.latency_seconds.unwrap_or(0.0)).unwrap_or_default(),
        requests: stored.requests,
        fragments: Vec::new(),
        any_form: by_hand,
    }
}
