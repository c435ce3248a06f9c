//! A language model behind an OpenAI-compatible endpoint.

use std::path::Path;
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use search::Outcome;
use tokio::sync::Semaphore;

use super::{Proposal, Proposer, ProposerError, Request};
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

    async fn ask(&self, request: Request) -> Result<Proposal, ProposerError> {
        let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
        let Some(endpoint) = self.draw(&mut rng) else {
            return Err(ProposerError::setup("no language model is configured", "name one under llm.models"));
        };
        let prompt = self.prompts.render(self.form, &request)?;
        let started = Instant::now();
        let exchange = endpoint.ask(&prompt, &self.permits, &mut rng).await;
        let latency = started.elapsed();
        let answer = exchange.answer?;
        let change = match answer.text() {
            Ok(text) => patch::apply(text, &request.parent.source, self.form, request.language)
                .map_err(|error| answer.explain(error)),
            Err(reason) => Err(Outcome::NoProposal { reason }),
        };
        let Model { name, price, .. } = &endpoint.model;
        let (tokens_in, tokens_out) = (answer.tokens_in, answer.tokens_out);
        Ok(Proposal {
            proposer: self.name(),
            operator: match self.form {
                Form::Edits => "edit".to_owned(),
                Form::FullRewrite => "full_rewrite".to_owned(),
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

impl Proposer for LlmProposer {
    fn name(&self) -> &'static str {
        "llm"
    }

    fn propose(&self, request: Request) -> BoxFuture<'_, Result<Proposal, ProposerError>> {
        self.ask(request).boxed()
    }
}
