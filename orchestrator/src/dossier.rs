//! Everything that is stored about one proposal, as programs read it: `evolve show --json` and the service.

use program_db::{DbError, MeasuredBy, ProgramDb, RunId};
use search::ProgramId;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// One proposal, with its program if it led to one. Texts are as they were stored, whatever is in them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Dossier {
    /// The run.
    pub run: i64,
    /// The proposal's number in it, and so the program's.
    pub number: u64,
    /// The program it was made from; none for the initial program.
    pub parent: Option<u64>,
    /// The island it was asked for.
    pub island: usize,
    /// Other programs that the proposer was shown.
    pub inspirations: Vec<u64>,
    /// Who proposed.
    pub proposer: String,
    /// How.
    pub operator: String,
    /// The language model, if any.
    pub model: Option<String>,
    /// Tokens sent, over all requests.
    pub tokens_in: Option<u64>,
    /// Tokens received, over all requests.
    pub tokens_out: Option<u64>,
    /// Those of the sent ones that the endpoint had in its cache.
    pub tokens_cached: Option<u64>,
    /// Those of the received ones that were reasoning.
    pub tokens_reasoning: Option<u64>,
    /// Whether tokens are estimated because an endpoint didn't count them.
    pub tokens_estimated: bool,
    /// The price.
    pub cost: Option<f64>,
    /// What the model was sent; only if it was asked for.
    pub prompt: Option<String>,
    /// What it answered; only if it was asked for.
    pub reply: Option<String>,
    /// Lineage depth; none if it led to no program.
    pub generation: Option<u32>,
    /// Hash of the program's tokens; none if it led to no program.
    pub code_hash: Option<String>,
    /// How it ended: `kind` says how, `measured` has `score`, `verdict`, `metrics` and `effects`; none while it isn't evaluated.
    #[schema(value_type = Option<Object>)]
    pub outcome: Option<Value>,
    /// How it ended, in one line.
    pub summary: Option<String>,
    /// What measured it.
    #[schema(value_type = Option<Object>)]
    pub measured_by: Option<Value>,
    /// Its trials, failed ones too, with the columns of the table `trial`.
    #[schema(value_type = Vec<Object>)]
    pub trials: Vec<Value>,
    /// What the protocol decided at each look, with the columns of the table `decision`.
    #[schema(value_type = Vec<Object>)]
    pub decisions: Vec<Value>,
    /// The protocol's last word with all its numbers.
    #[schema(value_type = Option<Object>)]
    pub judgement: Option<Value>,
    /// Texts that the evaluation left, by name.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub artifacts: Map<String, Value>,
    /// The program's source; none if it led to no program.
    pub source: Option<String>,
}

impl Dossier {
    /// Reads it. Prompt and reply only on request: they are long.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`], [`DbError::NoSuchProgram`].
    pub async fn read(
        db: &ProgramDb,
        run: RunId,
        number: ProgramId,
        with_prompt: bool,
    ) -> Result<Self, DbError> {
        let proposal = db.proposal(run, number).await?;
        let outcome = db.outcome(run, number).await?;
        let evaluation = db.evaluation(run, number).await?;
        // A proposal that led to no program is worth looking at too.
        let program = match db.program(run, number).await {
            Ok(program) => Some(program),
            Err(DbError::NoProgram { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            run,
            number: number.0,
            parent: proposal.parent.map(|parent| parent.0),
            island: proposal.island,
            inspirations: proposal.inspirations.iter().map(|number| number.0).collect(),
            proposer: proposal.proposer,
            operator: proposal.operator,
            model: proposal.model,
            tokens_in: proposal.tokens_in,
            tokens_out: proposal.tokens_out,
            tokens_cached: proposal.tokens_cached,
            tokens_reasoning: proposal.tokens_reasoning,
            tokens_estimated: proposal.tokens_estimated,
            cost: proposal.cost,
            prompt: proposal.prompt.filter(|_| with_prompt),
            reply: proposal.reply.filter(|_| with_prompt),
            generation: program.as_ref().map(|program| program.generation),
            code_hash: program.as_ref().map(|program| program.code_hash.clone()),
            summary: outcome.as_ref().map(ToString::to_string),
            outcome: outcome.as_ref().map(json),
            measured_by: evaluation.as_ref().map(|evaluation| measured_by(&evaluation.measured_by)),
            trials: db.trials(run, number).await?.iter().map(json).collect(),
            decisions: db.decisions(run, number).await?.iter().map(json).collect(),
            judgement: evaluation.and_then(|evaluation| evaluation.judgement),
            artifacts: db
                .artifacts(run, number)
                .await?
                .into_iter()
                .map(|artifact| (artifact.name, artifact.content.into()))
                .collect(),
            source: program.map(|program| program.source),
        })
    }
}

/// What is stored has been JSON before, so this can't fail.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn measured_by(by: &MeasuredBy) -> Value {
    serde_json::json!({
        "evaluator": by.evaluator,
        "harness": by.harness,
        "mlx": by.mlx,
        "backend": by.backend,
        "device": by.device,
        "sandbox": by.sandbox,
        "protocol": by.protocol,
        "parameters": by.parameters,
    })
}
