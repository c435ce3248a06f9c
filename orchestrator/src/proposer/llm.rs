//! A language model behind an OpenAI-compatible endpoint.

use std::path::Path;
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use search::Outcome;
use tokio::sync::Semaphore;

use super::{Failure, Proposal, Proposer, ProposerError, Request};
use crate::patch::{self, Form};
use crate::prompt::Prompts;

mod answer;
mod endpoint;
mod refusal;
pub mod settings;
mod transport;

use endpoint::Endpoint;
use settings::Model;
pub use settings::{LlmSettings, ModelSettings, Price};

/// The operator that asks for SEARCH/REPLACE blocks.
pub const EDIT: &str = "edit";
/// The operator that asks for the whole program.
pub const FULL_REWRITE: &str = "full_rewrite";

/// Asks one model of a weighted ensemble for each proposal.
pub struct LlmProposer {
    endpoints: Vec<Endpoint>,
    prompts: Prompts,
    form: Form,
    /// Requests under way at once, over all models.
    permits: Semaphore,
}

impl LlmProposer {
    /// Checks the settings and the templates; talks to nobody yet. `diff_based` asks for SEARCH/REPLACE
    /// edits instead of whole programs; templates in `template_dir` go before the built-in ones.
    pub fn new(
        settings: &LlmSettings,
        diff_based: bool,
        template_dir: Option<&Path>,
    ) -> Result<Self, ProposerError> {
        let endpoints =
            settings.checked_models()?.into_iter().map(Endpoint::new).collect::<Result<_, _>>()?;
        let prompts = Prompts::load(template_dir)?;
        let form = if diff_based { Form::Edits } else { Form::FullRewrite };
        Ok(Self { endpoints, prompts, form, permits: Semaphore::new(settings.concurrency) })
    }

    /// Asks once, and again with the reason for as long as the answer is what was proposed before and `guidance` allows it.
    /// What all of it took is one proposal's.
    async fn ask(&self, mut request: Request) -> Result<Proposal, ProposerError> {
        let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
        let form = self.form(&request);
        let Some(endpoint) = self.endpoint(&request, &mut rng) else {
            return Err(ProposerError::setup("no language model is configured", "name one under llm.models"));
        };
        let mut proposal = self.ask_once(endpoint, form, &request, &mut rng).await?;
        for _ in 0..request.guidance.retries {
            let Ok(source) = &proposal.change else { break };
            let Some(refusal) = request.seen.refusal(source) else { break };
            let source = Some(source.as_str().into());
            request.failures.push(Failure { id: request.number, outcome: refusal, source });
            proposal = joined(proposal, self.ask_once(endpoint, form, &request, &mut rng).await?);
        }
        Ok(proposal)
    }

    async fn ask_once(
        &self,
        endpoint: &Endpoint,
        form: Form,
        request: &Request,
        rng: &mut ChaCha8Rng,
    ) -> Result<Proposal, ProposerError> {
        let prompt = self.prompts.render(form, request)?;
        let started = Instant::now();
        let exchange = endpoint.ask(&prompt, request.guidance.widening, &self.permits, rng).await;
        let latency = started.elapsed();
        let answer = exchange.answer?;
        let change = match answer.text() {
            Ok(text) => patch::apply(text, &request.parent.source, form, request.language)
                .map_err(|error| answer.explain(error)),
            Err(reason) => Err(Outcome::NoProposal { reason }),
        };
        let Model { name, price, .. } = &endpoint.model;
        let (tokens_in, tokens_out) = (answer.tokens_in, answer.tokens_out);
        Ok(Proposal {
            proposer: self.name(),
            operator: match form {
                Form::Edits => EDIT.to_owned(),
                Form::FullRewrite => FULL_REWRITE.to_owned(),
            },
            model: Some(name.clone()),
            prompt: Some(prompt.text()),
            reply: answer.raw(),
            tokens_in,
            tokens_out,
            cost: price.zip(tokens_in).map(|(price, tokens)| price.of(tokens, tokens_out.unwrap_or(0))),
            latency,
            requests: exchange.requests,
            change,
        })
    }

    /// What the model is asked to answer with: as search wants it, else as configured.
    fn form(&self, request: &Request) -> Form {
        match request.guidance.operator.as_deref() {
            Some(EDIT) => Form::Edits,
            Some(FULL_REWRITE) => Form::FullRewrite,
            _ => self.form,
        }
    }

    /// The model that search names, else one drawn by weight.
    fn endpoint(&self, request: &Request, rng: &mut ChaCha8Rng) -> Option<&Endpoint> {
        let drawn = self.draw(rng);
        let named = request.guidance.model.as_ref();
        named.and_then(|name| self.endpoints.iter().find(|it| it.model.name == *name)).or(drawn)
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
}
