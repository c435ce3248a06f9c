//! A language model behind an OpenAI-compatible endpoint.

use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use search::Outcome;
use tokio::sync::Semaphore;

use super::{Condensed, Failure, Proposal, Proposer, ProposerError, Request};
use crate::operator::Operator;
use crate::patch;
use crate::prompt::{Material, Prompt, PromptSettings, Prompts};

mod answer;
mod endpoint;
mod refusal;
pub mod settings;
mod transport;

use answer::Answer;
use endpoint::Endpoint;
use settings::Model;
pub use settings::{LlmSettings, ModelSettings, Price};

/// Asks one model of a weighted ensemble for each proposal.
pub struct LlmProposer {
    endpoints: Vec<Endpoint>,
    prompts: Prompts,
    /// Whether edits are asked for, where the operator leaves a choice.
    diff_based: bool,
    /// Requests under way at once, over all models.
    permits: Semaphore,
}

impl LlmProposer {
    /// Checks the settings and the templates; talks to nobody yet. `diff_based` asks for SEARCH/REPLACE
    /// edits instead of whole programs, where there is a choice.
    pub fn new(
        settings: &LlmSettings,
        diff_based: bool,
        prompt: &PromptSettings,
    ) -> Result<Self, ProposerError> {
        let endpoints =
            settings.checked_models()?.into_iter().map(Endpoint::new).collect::<Result<_, _>>()?;
        let prompts = Prompts::load(prompt)?;
        Ok(Self { endpoints, prompts, diff_based, permits: Semaphore::new(settings.concurrency) })
    }

    /// Asks once, and again with the reason for as long as the answer is what was proposed before and `guidance` allows it.
    /// What all of it took is one proposal's.
    async fn ask(&self, mut request: Request) -> Result<Proposal, ProposerError> {
        let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
        let operator = Operator::of(&request, self.diff_based);
        let endpoint = self.endpoint(request.guidance.model.as_deref(), &mut rng)?;
        let mut proposal = self.ask_once(endpoint, operator, &request, &mut rng).await?;
        for _ in 0..request.guidance.retries {
            let Ok(source) = &proposal.change else { break };
            let Some(refusal) = request.seen.refusal(source) else { break };
            let source = Some(source.as_str().into());
            request.failures.push(Failure::new(request.number, refusal, source));
            proposal = joined(proposal, self.ask_once(endpoint, operator, &request, &mut rng).await?);
        }
        Ok(proposal)
    }

    async fn ask_once(
        &self,
        endpoint: &Endpoint,
        operator: Operator,
        request: &Request,
        rng: &mut ChaCha8Rng,
    ) -> Result<Proposal, ProposerError> {
        let form = operator.form(self.diff_based);
        let prompt = self.prompts.render(operator, form, request)?;
        let widening = request.guidance.widening;
        let Exchanged { answer, cost, latency, requests } =
            self.exchange(endpoint, &prompt, widening, rng).await?;
        let change = match answer.text() {
            Ok(text) => patch::apply(text, request.base(), form, request.language)
                .map_err(|error| answer.explain(error)),
            Err(reason) => Err(Outcome::NoProposal { reason }),
        };
        Ok(Proposal {
            proposer: self.name(),
            operator: operator.name().to_owned(),
            model: Some(endpoint.model.name.clone()),
            prompt: Some(prompt.text()),
            left_out: prompt.left_out,
            tokens_in: answer.tokens_in,
            tokens_out: answer.tokens_out,
            reply: answer.raw(),
            cost,
            latency,
            requests,
            change,
        })
    }

    /// Sends a prompt, and says what came of it.
    async fn exchange(
        &self,
        endpoint: &Endpoint,
        prompt: &Prompt,
        widening: u32,
        rng: &mut ChaCha8Rng,
    ) -> Result<Exchanged, ProposerError> {
        let started = Instant::now();
        let exchange = endpoint.ask(prompt, widening, &self.permits, rng).await;
        let latency = started.elapsed();
        let answer = exchange.answer?;
        let Model { price, .. } = &endpoint.model;
        let cost = price
            .zip(answer.tokens_in)
            .map(|(price, tokens)| price.of(tokens, answer.tokens_out.unwrap_or(0)));
        Ok(Exchanged { answer, cost, latency, requests: exchange.requests })
    }

    async fn ask_for_lessons(
        &self,
        material: Material,
        model: Option<String>,
        seed: u64,
    ) -> Result<Condensed, ProposerError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let endpoint = self.endpoint(model.as_deref(), &mut rng)?;
        let prompt = self.prompts.condense(&material)?;
        let Exchanged { answer, cost, latency, requests } =
            self.exchange(endpoint, &prompt, 0, &mut rng).await?;
        Ok(Condensed {
            model: Some(endpoint.model.name.clone()),
            prompt: prompt.text(),
            tokens_in: answer.tokens_in,
            tokens_out: answer.tokens_out,
            cost,
            latency,
            requests,
            text: answer.text().map(str::to_owned),
            reply: answer.raw(),
        })
    }

    /// The model of this name, else one drawn by weight.
    fn endpoint(&self, named: Option<&str>, rng: &mut ChaCha8Rng) -> Result<&Endpoint, ProposerError> {
        let drawn = self.draw(rng);
        let named = named.and_then(|name| self.endpoints.iter().find(|it| it.model.name == name));
        named.or(drawn).ok_or_else(|| {
            ProposerError::setup("no language model is configured", "name one under llm.models")
        })
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Option<&Endpoint> {
        let total: f64 = self.endpoints.iter().map(|endpoint| endpoint.model.weight).sum();
        let mut left = rng.random::<f64>() * total;
        let drawn = self.endpoints.iter().find(|endpoint| {
            left -= endpoint.model.weight;
            left < 0.0
        });
        // Rounding may leave a crumb past the last weight.
        drawn.or_else(|| self.endpoints.iter().rfind(|endpoint| endpoint.model.weight > 0.0))
    }
}

/// What came of one prompt, and what it took.
struct Exchanged {
    answer: Answer,
    cost: Option<f64>,
    latency: Duration,
    requests: u32,
}

/// Two attempts at one proposal: the second one's program, and what both took. No text that was paid for is lost.
fn joined(first: Proposal, second: Proposal) -> Proposal {
    let text = |one: Option<String>, two: Option<String>| match (one, two) {
        (Some(one), Some(two)) => Some(format!("{one}\n[asked again]\n{two}")),
        (one, two) => one.or(two),
    };
    let sum = |one: Option<u64>, two: Option<u64>| match (one, two) {
        (None, None) => None,
        (one, two) => Some(one.unwrap_or(0) + two.unwrap_or(0)),
    };
    Proposal {
        prompt: text(first.prompt, second.prompt),
        reply: text(first.reply, second.reply),
        tokens_in: sum(first.tokens_in, second.tokens_in),
        tokens_out: sum(first.tokens_out, second.tokens_out),
        cost: match (first.cost, second.cost) {
            (None, None) => None,
            (one, two) => Some(one.unwrap_or(0.0) + two.unwrap_or(0.0)),
        },
        latency: first.latency + second.latency,
        requests: first.requests + second.requests,
        ..second
    }
}

impl Proposer for LlmProposer {
    fn name(&self) -> &'static str {
        "llm"
    }

    fn propose(&self, request: Request) -> BoxFuture<'_, Result<Proposal, ProposerError>> {
        self.ask(request).boxed()
    }

    fn condense(
        &self,
        material: Material,
        model: Option<String>,
        seed: u64,
    ) -> BoxFuture<'_, Result<Option<Condensed>, ProposerError>> {
        self.ask_for_lessons(material, model, seed).map(|result| result.map(Some)).boxed()
    }
}
