//! Who made a run's programs, and what came of it.

use serde::Serialize;
use sqlx::FromRow;

use super::series::Step;
use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// What one proposer did with one operator (and one model).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Maker {
    /// Who: `llm`, `rewrite`, ...
    pub proposer: String,
    /// The model that answered.
    pub model: Option<String>,
    /// How: `edit`, `crossover`, a rule's name, ...
    pub operator: String,
    /// Proposals.
    pub proposals: u64,
    /// Requests made for them, failed ones included.
    pub requests: u64,
    /// Those of the proposals that were measured.
    pub measured: u64,
    /// Those of the measured whose verdict is `improved`.
    pub improved: u64,
    /// By how much the best score rose through them, summed up.
    pub gain: f64,
    /// The highest score.
    pub best: Option<f64>,
    /// Tokens sent.
    pub tokens_in: u64,
    /// Tokens received.
    pub tokens_out: u64,
    /// Price, if any has one.
    pub cost: Option<f64>,
    /// Seconds from asking to the end of the reply, summed up.
    pub seconds: f64,
}

#[derive(FromRow)]
struct Row {
    proposer: String,
    model: Option<String>,
    operator: String,
    proposals: i64,
    requests: i64,
    measured: i64,
    improved: i64,
    best: Option<f64>,
    tokens_in: i64,
    tokens_out: i64,
    cost: Option<f64>,
    seconds: f64,
}

impl ProgramDb {
    /// What each proposer, model and operator did in a run, those with most proposals first. Proposals without an outcome count.
    /// `steps` are [`ProgramDb::steps`]: whose they are tells whose the gains are.
    pub async fn makers(&self, run: RunId, steps: &[Step]) -> Result<Vec<Maker>, DbError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT proposer, model, operator, count(*) AS proposals, sum(requests) AS requests,
                    count(outcome.score) AS measured, count(CASE outcome.verdict WHEN 'improved' THEN 1 END) AS improved,
                    max(outcome.score) AS best,
                    coalesce(sum(tokens_in), 0) AS tokens_in, coalesce(sum(tokens_out), 0) AS tokens_out, sum(cost) AS cost,
                    sum(latency_ms) / 1000.0 AS seconds
             FROM proposal INDEXED BY proposal_facts
             LEFT JOIN outcome INDEXED BY outcome_facts ON outcome.run_id = ?1 AND outcome.number = proposal.number
             WHERE proposal.run_id = ?1 AND proposal.number > 0
             GROUP BY proposer, model, operator ORDER BY proposals DESC, proposer, model, operator",
        )
        .bind(run)
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        let gain = |row: &Row| {
            let is_its = |step: &&Step| {
                step.proposer == row.proposer && step.model == row.model && step.operator == row.operator
            };
            let rise = |step: &Step| step.before.map_or(0.0, |before| step.score - before);
            steps.iter().filter(is_its).map(rise).sum()
        };
        let read = |row: Row| Maker {
            gain: gain(&row),
            proposer: row.proposer,
            model: row.model,
            operator: row.operator,
            proposals: row.proposals.cast_unsigned(),
            requests: row.requests.cast_unsigned(),
            measured: row.measured.cast_unsigned(),
            improved: row.improved.cast_unsigned(),
            best: row.best,
            tokens_in: row.tokens_in.cast_unsigned(),
            tokens_out: row.tokens_out.cast_unsigned(),
            cost: row.cost,
            seconds: row.seconds,
        };
        Ok(rows.into_iter().map(read).collect())
    }
}
