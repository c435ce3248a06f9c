//! A language model behind an OpenAI-compatible endpoint.

use futures::FutureExt;
use futures::future::BoxFuture;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use search::Outcome;

use super::replay::{LESSONS, PROPOSAL, Recording};
use super::{Condensed, Failure, Proposal, Proposer, ProposerError, ProposerErrorKind, Request};
use crate::operator::Operator;
use crate::patch::{self, Form};
use crate::prompt::{Material, PromptSettings, Prompts};

mod account;
mod answer;
mod budget;
mod endpoint;
mod ensemble;
mod health;
mod model;
mod price;
mod probe;
mod proxy;
mod refusal;
pub mod settings;
mod stream;
pub(crate) mod tokens;
pub(crate) mod transport;

pub use budget::Spent;
pub use ensemble::RunContext;
use ensemble::{Call, Ensemble};
pub(crate) use model::unpriced;
pub use price::{Price, PriceTable};
pub use probe::{Probe, Probed, Step, StepState};
pub use proxy::EnvironmentProxies;
pub use settings::{LlmSettings, ModelSettings};

/// Asks one model of a weighted ensemble for each proposal, or a recording.
pub struct LlmProposer {
    name: &'static str,
    ensemble: Ensemble,
    prompts: Prompts,
    /// Whether edits are asked for, where the operator leaves a choice.
    diff_based: bool,
}

impl LlmProposer {
    /// Checks the settings and the templates; talks to nobody yet. `diff_based` asks for SEARCH/REPLACE
    /// edits instead of whole programs, where there is a choice.
    pub fn new(
        settings: &LlmSettings,
        diff_based: bool,
        prompt: &PromptSettings,
    ) -> Result<Self, ProposerError> {
        Self::over("llm", Ensemble::of_models(settings)?, diff_based, prompt)
    }

    /// Answers from a recording; `name` is who it stands for: `llm`, or `replay` for itself.
    pub fn replaying(
        name: &'static str,
        recording: Recording,
        diff_based: bool,
        prompt: &PromptSettings,
    ) -> Result<Self, ProposerError> {
        Self::over(name, Ensemble::of_recording(recording), diff_based, prompt)
    }

    fn over(
        name: &'static str,
        ensemble: Ensemble,
        diff_based: bool,
        prompt: &PromptSettings,
    ) -> Result<Self, ProposerError> {
        let prompts = Prompts::load(prompt)?;
        Ok(Self { name, ensemble, prompts, diff_based })
    }

    /// The same within a run.
    #[must_use]
    pub fn within(self, context: RunContext) -> Self {
        Self { ensemble: self.ensemble.within(context), ..self }
    }

    /// Asks once, and again with the reason for as long as the answer is what was proposed before and `guidance` allows it.
    /// What all of it took is one proposal's.
    async fn ask(&self, mut request: Request) -> Result<Proposal, ProposerError> {
        let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
        let operator = Operator::of(&request, self.diff_based);
        let mut proposal = self.ask_once(operator, &request, &mut rng).await?;
        for _ in 0..request.guidance.retries {
            let Ok(source) = &proposal.change else { break };
            let Some(refusal) = request.seen.refusal(source) else { break };
            let source = Some(source.as_str().into());
            request.failures.push(Failure::new(request.number, refusal, source));
            // If nobody can be asked any more, what there is already is kept: it is paid for. The next proposal meets the error.
            let Ok(second) = self.ask_once(operator, &request, &mut rng).await else { break };
            proposal = joined(proposal, second);
        }
        Ok(proposal)
    }

    async fn ask_once(
        &self,
        operator: Operator,
        request: &Request,
        rng: &mut ChaCha8Rng,
    ) -> Result<Proposal, ProposerError> {
        let form = operator.form(self.diff_based);
        let prompt = self.prompts.render(operator, form, request)?;
        let call = Call {
            purpose: PROPOSAL,
            number: request.number.0,
            model: request.guidance.model.as_deref(),
            widening: request.guidance.widening,
        };
        let exchange = self.ensemble.ask(&prompt, call, rng).await?;
        let read_as = if exchange.any_form { Form::FullRewrite } else { form };
        let change = match exchange.answer.text() {
            Ok(text) => patch::apply(text, request.base(), read_as, request.language)
                .map_err(|error| exchange.answer.explain(error)),
            Err(reason) => Err(Outcome::NoProposal { reason }),
        };
        Ok(Proposal {
            operator: operator.name().to_owned(),
            prompt: Some(prompt.text()),
            left_out: prompt.left_out,
            ..exchange.into_proposal(self.name(), change)
        })
    }

    async fn ask_for_lessons(
        &self,
        material: Material,
        model: Option<String>,
        seed: u64,
    ) -> Result<Option<Condensed>, ProposerError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let prompt = self.prompts.condense(&material)?;
        let number = u64::from(material.version);
        let call = Call { purpose: LESSONS, number, model: model.as_deref(), widening: 0 };
        let exchange = match self.ensemble.ask(&prompt, call, &mut rng).await {
            // A recording without lessons is of a run without them.
            Err(error) if error.kind == ProposerErrorKind::RecordingEnds => return Ok(None),
            exchange => exchange?,
        };
        let tokens = exchange.tokens.as_ref();
        Ok(Some(Condensed {
            prompt: prompt.text(),
            reply: exchange.reply(),
            tokens_in: tokens.map(|tokens| tokens.input),
            tokens_out: tokens.map(|tokens| tokens.output),
            cost: exchange.cost,
            latency: exchange.latency,
            requests: exchange.requests,
            text: exchange.answer.text().map(str::to_owned),
            model: exchange.model,
        }))
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
        tokens_cached: sum(first.tokens_cached, second.tokens_cached),
        tokens_reasoning: sum(first.tokens_reasoning, second.tokens_reasoning),
        tokens_estimated: first.tokens_estimated || second.tokens_estimated,
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
        self.name
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
        self.ask_for_lessons(material, model, seed).boxed()
    }
}
