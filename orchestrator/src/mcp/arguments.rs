//! What tools are asked with. The comments are what agents read.

use rmcp::schemars::JsonSchema;
use search::ProgramId;
use serde::Deserialize;

use super::answer::Refused;
use crate::cli::ProgramRef;

/// Which run.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct OfRun {
    /// The run's number; the latest run if left out.
    pub(super) run: Option<i64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct Best {
    /// The run's number; the latest run if left out.
    pub(super) run: Option<i64>,
    /// How many, 1 to 50; 10 if left out.
    pub(super) count: Option<u32>,
    /// Only this island.
    pub(super) island: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Such as `score > 1.1 and verdict = improved order by score desc limit 20`, `kind = compile and model ~ mini`,
    /// `island = 2 and not proposer = rewrite`. Empty: everything. Columns: number, island, parent, generation, kind, score, verdict,
    /// message, proposer, operator, model, `tokens_per_second`, `peak_memory_bytes`, `validation_loss`, cost, `metrics.NAME` and others.
    pub(super) expression: String,
    /// The run's number; the latest run if left out.
    pub(super) run: Option<i64>,
    /// Search all runs.
    pub(super) all_runs: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct Sql {
    /// One SELECT (SQLite). Views for reading: `proposals` and `programs` (columns run, number, island, parent, generation, kind, score,
    /// verdict, message, proposer, operator, model, cost, metrics, source, prompt, reply, ...); tables run, session, proposal, program,
    /// evaluation, trial, decision, artifact, outcome, lesson. `SELECT name, sql FROM sqlite_schema` shows all.
    pub(super) sql: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct GetProgram {
    /// `NUMBER` in the latest run, or `RUN/NUMBER`.
    pub(super) program: String,
    /// What of it; the verdict with its grounds if left out.
    pub(super) part: Option<Part>,
    /// Character to begin at, where an answer said that there is more.
    pub(super) offset: Option<usize>,
}

/// A part of a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    /// Who made it from what, its verdict in words with the statistics behind it, its ancestors.
    #[default]
    Verdict,
    /// The source.
    Source,
    /// What the model was sent.
    Prompt,
    /// What the model answered.
    Reply,
    /// What its evaluation left.
    Artifacts,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct OfProgram {
    /// `NUMBER` in the latest run, or `RUN/NUMBER`.
    pub(super) program: String,
    /// Character to begin at, where an answer said that there is more.
    pub(super) offset: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct Compare {
    /// `NUMBER` in the latest run, or `RUN/NUMBER`.
    pub(super) a: String,
    /// `NUMBER` in the latest run, or `RUN/NUMBER`.
    pub(super) b: String,
    /// Character of the diff to begin at, where an answer said that there is more.
    pub(super) offset: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct StartRun {
    /// A configuration's name as `list_configs` gives it.
    pub(super) config: String,
    /// The run's seed; the configuration's if left out.
    pub(super) seed: Option<u64>,
    /// Proposals in all; the configuration's if left out.
    pub(super) iterations: Option<u64>,
    /// Seconds of this session; the configuration's if left out.
    pub(super) max_wall_seconds: Option<f64>,
    /// Most to spend on models; the configuration's if left out.
    pub(super) max_cost: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeRun {
    /// The run's number.
    pub(super) run: i64,
    /// Proposals in all, counted from the run's beginning; the configuration's if left out.
    pub(super) iterations: Option<u64>,
    /// Seconds of this session; the configuration's if left out.
    pub(super) max_wall_seconds: Option<f64>,
    /// Most to spend on models over all sessions; the configuration's if left out.
    pub(super) max_cost: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct PauseRun {
    /// The run's number.
    pub(super) run: i64,
}

/// `17` or `3/17`.
pub(super) fn program(text: &str) -> Result<(Option<i64>, ProgramId), Refused> {
    let program: ProgramRef = text.trim().parse().map_err(Refused)?;
    Ok((program.run, program.number))
}
