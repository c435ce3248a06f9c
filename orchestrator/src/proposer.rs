//! Who suggests the next program: a language model, rewrite rules, or stored replies, behind one trait.
//!
//! A proposal that can't be used is still a [`Proposal`]: its prompt, reply and price are kept beside the
//! [`Outcome`] that says why. [`ProposerError`] is for what no further call could mend.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use search::{Language, Outcome, ProgramId};

use crate::prompt::{Material, PromptError};

pub mod llm;
pub mod replay;
pub mod rewrite;
pub mod secret;
pub mod several;
pub mod tune;

pub use llm::LlmSettings;
pub use secret::Secret;

/// Suggests programs. Shared between tasks: many proposals may be under way at once.
pub trait Proposer: Send + Sync {
    /// The name in the database: `llm`, `rewrite`, `replay`.
    fn name(&self) -> &'static str;

    /// Makes one proposal. Everything random in it comes from [`Request::seed`].
    ///
    /// # Errors
    /// Only what must stop the run; whatever another attempt might do better is in [`Proposal::change`].
    fn propose(&self, request: Request) -> BoxFuture<'_, Result<Proposal, ProposerError>>;

    /// Asks a model what a search teaches so far; none if this proposer asks no model. `model` names the one to ask, where there is
    /// a choice.
    ///
    /// # Errors
    /// As for [`Proposer::propose`].
    fn condense(
        &self,
        material: Material,
        model: Option<String>,
        seed: u64,
    ) -> BoxFuture<'_, Result<Option<Condensed>, ProposerError>> {
        let _ = (material, model, seed);
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// What came of asking for lessons. Everything in it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Condensed {
    /// The model that answered.
    pub model: Option<String>,
    /// The text that was sent.
    pub prompt: String,
    /// The text that came back, whatever it is.
    pub reply: Option<String>,
    /// Tokens sent.
    pub tokens_in: Option<u64>,
    /// Tokens received.
    pub tokens_out: Option<u64>,
    /// Price of the tokens.
    pub cost: Option<f64>,
    /// From the first request to the last byte of the reply.
    pub latency: Duration,
    /// HTTP requests made.
    pub requests: u32,
    /// The model's text, or why there is none.
    pub text: Result<String, String>,
}

/// Lessons as prompts show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lessons {
    /// Which version of the run's lessons.
    pub version: u32,
    /// A sentence or two each.
    pub items: Vec<String>,
}

/// What a proposer is given.
#[derive(Debug, Clone)]
pub struct Request {
    /// The proposal's number in the run, which becomes the program's.
    pub number: ProgramId,
    /// The only source of randomness.
    pub seed: u64,
    /// The language of all programs of the run.
    pub language: Language,
    /// What the problem is.
    pub problem: Arc<ProblemText>,
    /// The program to start from.
    pub parent: Exhibit,
    /// Other programs worth a look, best first.
    pub inspirations: Vec<Exhibit>,
    /// Those of the inspirations that were chosen because they differ, not because they are good.
    pub different: Vec<ProgramId>,
    /// The other parent of a crossover.
    pub partner: Option<Exhibit>,
    /// Earlier children of this parent that were measured, oldest first.
    pub successes: Vec<Exhibit>,
    /// How earlier children of this parent failed, oldest first.
    pub failures: Vec<Failure>,
    /// The failed child of this parent that is to be mended.
    pub repair: Option<Failure>,
    /// What a model made of the search so far.
    pub lessons: Option<Lessons>,
    /// Which sources need not be proposed again.
    pub seen: Seen,
    /// What search wants of this proposal beyond a better program.
    pub guidance: Guidance,
}

impl Request {
    /// To change this parent; nothing else is known.
    pub fn new(
        number: ProgramId,
        seed: u64,
        language: Language,
        problem: Arc<ProblemText>,
        parent: Exhibit,
    ) -> Self {
        Self {
            number,
            seed,
            language,
            problem,
            parent,
            inspirations: Vec::new(),
            different: Vec::new(),
            partner: None,
            successes: Vec::new(),
            failures: Vec::new(),
            repair: None,
            lessons: None,
            seen: Seen::nothing(),
            guidance: Guidance::default(),
        }
    }

    /// What an answer's edits apply to: the program to mend, if there is one, else the parent.
    pub fn base(&self) -> &str {
        let broken = self.repair.as_ref().and_then(|failure| failure.source.as_deref());
        broken.unwrap_or(&self.parent.source)
    }
}

/// What search wants of one proposal. The default leaves everything to the proposer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guidance {
    /// Who is to propose, where there is a choice.
    pub proposer: Option<String>,
    /// The operator to use, where the proposer has it.
    pub operator: Option<String>,
    /// The model to ask, where there is a choice.
    pub model: Option<String>,
    /// How much more than usual to change, 0 for as usual.
    pub widening: u32,
    /// How often a model is asked again, with the reason, when it proposes what was proposed before.
    pub retries: u32,
}

/// A problem in words, the same for every proposal of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProblemText {
    /// The problem's name, e.g. `quantized-lora`.
    pub name: String,
    /// What a program must do and what makes it better, Markdown. May be empty.
    pub task: String,
    /// Reference of the interface that programs are written against, Markdown; none for problems without one.
    pub api_reference: Option<String>,
}

/// A program shown to a proposer.
#[derive(Debug, Clone, PartialEq)]
pub struct Exhibit {
    /// Its number in the run.
    pub id: ProgramId,
    /// The whole source text.
    pub source: Arc<str>,
    /// How it ended; none while it isn't evaluated.
    pub outcome: Option<Outcome>,
    /// What its evaluation left for the prompt, each with its name.
    pub artifacts: Vec<(String, String)>,
}

impl Exhibit {
    /// A program without artifacts.
    pub fn new(id: ProgramId, source: impl Into<Arc<str>>, outcome: Option<Outcome>) -> Self {
        Self { id, source: source.into(), outcome, artifacts: Vec::new() }
    }
}

/// An earlier child of the parent that came to nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The proposal's number.
    pub id: ProgramId,
    /// How it ended.
    pub outcome: Outcome,
    /// The child's source, where there was one; prompts show what it changed.
    pub source: Option<Arc<str>>,
    /// What the model had answered, where that matters: its answer didn't apply, and is to be mended.
    pub reply: Option<String>,
    /// What its evaluation left, each with its name; only for one that is to be mended.
    pub artifacts: Vec<(String, String)>,
}

impl Failure {
    /// A failure of which only that is known.
    pub fn new(id: ProgramId, outcome: Outcome, source: Option<Arc<str>>) -> Self {
        Self { id, outcome, source, reply: None, artifacts: Vec::new() }
    }
}

/// Tells whether a source text was proposed before, or one too much like it.
///
/// For a run to be reproducible the answer must depend only on what had been told when the proposal was
/// asked for, not on what happens to be finished by now.
#[derive(Clone)]
pub struct Seen(Arc<Refusal>);

/// Says why a whole source would be refused, if it would.
type Refusal = dyn Fn(&str) -> Option<Outcome> + Send + Sync;

impl Seen {
    /// Wraps what says why a whole source would be refused: [`Outcome::Duplicate`] or [`Outcome::NearDuplicate`].
    pub fn refusing(seen: impl Fn(&str) -> Option<Outcome> + Send + Sync + 'static) -> Self {
        Self(Arc::new(seen))
    }

    /// Wraps a predicate on whole sources; which program it was isn't said.
    pub fn new(seen: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::refusing(move |source| seen(source).then_some(Outcome::Duplicate { of: ProgramId::INITIAL }))
    }

    /// Nothing was proposed before.
    pub fn nothing() -> Self {
        Self::refusing(|_| None)
    }

    /// Why this source would be refused, if it would.
    pub fn refusal(&self, source: &str) -> Option<Outcome> {
        (self.0)(source)
    }

    /// Whether this source would be refused.
    pub fn contains(&self, source: &str) -> bool {
        self.refusal(source).is_some()
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seen(..)")
    }
}

/// One attempt, whether or not it led to a program. Everything in it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// [`Proposer::name`].
    pub proposer: &'static str,
    /// What was done, e.g. `edit`, `full_rewrite`, `crossover`, `add-swap + literals`.
    pub operator: String,
    /// The model that answered.
    pub model: Option<String>,
    /// The text that was sent.
    pub prompt: Option<String>,
    /// What was left out of it for length, in words.
    pub left_out: Vec<String>,
    /// The text that came back.
    pub reply: Option<String>,
    /// Tokens sent, as the endpoint counts them.
    pub tokens_in: Option<u64>,
    /// Tokens received, as the endpoint counts them.
    pub tokens_out: Option<u64>,
    /// Of those sent, how many the endpoint had in its cache, where it says so.
    pub tokens_cached: Option<u64>,
    /// Of those received, how many were reasoning, where the endpoint says so.
    pub tokens_reasoning: Option<u64>,
    /// Whether some of the tokens are estimated, because an endpoint didn't count them.
    pub tokens_estimated: bool,
    /// Price of the tokens, in the currency of the configured prices.
    pub cost: Option<f64>,
    /// From the first request to the last byte of the reply, waits between retries included.
    pub latency: Duration,
    /// HTTP requests made, failed ones included.
    pub requests: u32,
    /// The new source, whole; or why there is none: [`Outcome::Patch`], [`Outcome::NoChange`] or
    /// [`Outcome::NoProposal`].
    pub change: Result<String, Outcome>,
}

impl Proposal {
    /// A proposal of a proposer that talks to nobody.
    pub fn offline(
        proposer: &'static str,
        operator: impl Into<String>,
        change: Result<String, Outcome>,
    ) -> Self {
        Self {
            proposer,
            operator: operator.into(),
            model: None,
            prompt: None,
            left_out: Vec::new(),
            reply: None,
            tokens_in: None,
            tokens_out: None,
            tokens_cached: None,
            tokens_reasoning: None,
            tokens_estimated: false,
            cost: None,
            latency: Duration::ZERO,
            requests: 0,
            change,
        }
    }
}

/// Something that further calls can't mend: the run must stop and the user must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ProposerError {
    /// Its class.
    pub kind: ProposerErrorKind,
    /// What is wrong, without secrets.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

/// The classes of [`ProposerError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProposerErrorKind {
    /// The endpoint doesn't accept the key (HTTP 401 or 403).
    WrongKey,
    /// The account has no credit left (HTTP 402, or 429 with `insufficient_quota`).
    OutOfMoney,
    /// The endpoint doesn't know the model, or isn't a chat completions endpoint (HTTP 404).
    NotFound,
    /// Nobody answers at the address, after all retries.
    Unreachable,
    /// The run's budget of money doesn't allow another request.
    CostSpent,
    /// The run's budget of tokens doesn't allow another request.
    TokensSpent,
    /// A recording has no further reply.
    RecordingEnds,
    /// The run comes to its end, and nothing is paid for yet.
    Withdrawn,
    /// A proposer can't be set up: settings, templates, rules or stored replies are unusable.
    Setup,
}

impl ProposerError {
    /// An error with its advice.
    pub fn new(kind: ProposerErrorKind, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, what: what.into(), hint: hint.into() }
    }

    /// A proposer that can't be set up.
    pub fn setup(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(ProposerErrorKind::Setup, what, hint)
    }
}

impl From<PromptError> for ProposerError {
    fn from(error: PromptError) -> Self {
        Self::setup(error.to_string(), error.hint())
    }
}
