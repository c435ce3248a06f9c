//! Decisions: the looks that a protocol took at a candidate, with the numbers behind each.

use search::ProgramId;
use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;
use crate::trial::finite;

/// One look at one metric. Deviations and means are of natural logarithms, positive is better.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Decision {
    /// The protocol's name for this part, e.g. `screen`, `confirm`.
    pub stage: String,
    /// Trials of the candidate, or pairs, so far in this stage.
    pub look: u32,
    /// Which metric; absent for what concerns none, such as the loss or a failed trial.
    pub metric: Option<String>,
    /// Standard deviation of one trial.
    pub sigma: Option<f64>,
    /// Mean difference so far.
    pub mean: Option<f64>,
    /// ln of the evidence so far.
    pub log_e: Option<f64>,
    /// Confirmations started in the run.
    pub confirmations: u32,
    /// Claims made in the run before.
    pub claims: u32,
    /// The level `α_t` of this confirmation: the evidence must reach its reciprocal.
    pub level: Option<f64>,
    /// At or below this mean the metric is futile.
    pub lower: Option<f64>,
    /// From this mean on the metric passes.
    pub upper: Option<f64>,
    /// What the look led to: `continue`, `stop`, `confirm`, `claim`, ...
    pub action: String,
    /// Why, in plain words.
    pub reason: String,
    /// Numbers of the reference trials that the candidate was compared with.
    pub references: Vec<u64>,
}

#[derive(FromRow)]
pub(crate) struct Row {
    stage: String,
    look: u32,
    metric: Option<String>,
    sigma: Option<f64>,
    mean: Option<f64>,
    log_e: Option<f64>,
    confirmations: u32,
    claims: u32,
    level: Option<f64>,
    lower: Option<f64>,
    upper: Option<f64>,
    action: String,
    reason: String,
    refs: String,
}

impl ProgramDb {
    /// The looks that led to a number's outcome, in order; none if there were none.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`], [`DbError::NoSuchProgram`].
    pub async fn decisions(&self, run: RunId, number: ProgramId) -> Result<Vec<Decision>, DbError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT decision.* FROM outcome JOIN decision USING (evaluation_id)
             WHERE run_id = ? AND number = ? ORDER BY idx",
        )
        .bind(run)
        .bind(number.0.cast_signed())
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        if rows.is_empty() {
            self.outcome(run, number).await?;
        }
        rows.into_iter().map(|row| self.read_decision(run, number, row)).collect()
    }

    pub(crate) fn read_decision(&self, run: RunId, number: ProgramId, row: Row) -> Result<Decision, DbError> {
        let references = serde_json::from_str(&row.refs).map_err(|error| {
            self.unreadable(format!("the references of a decision on program {number} of run {run}"), &error)
        })?;
        Ok(Decision {
            stage: row.stage,
            look: row.look,
            metric: row.metric,
            sigma: row.sigma,
            mean: row.mean,
            log_e: row.log_e,
            confirmations: row.confirmations,
            claims: row.claims,
            level: row.level,
            lower: row.lower,
            upper: row.upper,
            action: row.action,
            reason: row.reason,
            references,
        })
    }
}

pub(crate) async fn insert_decision(
    connection: &mut SqliteConnection,
    evaluation: i64,
    index: i64,
    decision: &Decision,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO decision (evaluation_id, idx, stage, look, metric, sigma, mean, log_e, confirmations, claims, level,
                               lower, upper, action, reason, refs)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(evaluation)
    .bind(index)
    .bind(&decision.stage)
    .bind(decision.look)
    .bind(&decision.metric)
    .bind(finite(decision.sigma))
    .bind(finite(decision.mean))
    .bind(finite(decision.log_e))
    .bind(decision.confirmations)
    .bind(decision.claims)
    .bind(finite(decision.level))
    .bind(finite(decision.lower))
    .bind(finite(decision.upper))
    .bind(&decision.action)
    .bind(&decision.reason)
    .bind(serde_json::Value::from(decision.references.as_slice()).to_string())
    .execute(connection)
    .await?;
    Ok(())
}
