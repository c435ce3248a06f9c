//! Evaluations: what measured a program, when, and everything it found.

use search::{Outcome, ProgramId};
use serde_json::Value;
use sqlx::FromRow;

use crate::artifact::{Artifact, insert_artifact};
use crate::db::ProgramDb;
use crate::error::DbError;
use crate::outcome::insert_outcome;
use crate::run::RunId;
use crate::trial::{Trial, insert_trial};

/// A finished evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvaluation {
    /// Who measured, and how.
    pub measured_by: MeasuredBy,
    /// Milliseconds since the Unix epoch.
    pub started_at: i64,
    /// Milliseconds since the Unix epoch.
    pub ended_at: i64,
    /// Every trial in the order it ran, failed ones too.
    pub trials: Vec<Trial>,
    /// What it leaves for people and for the next prompt.
    pub artifacts: Vec<Artifact>,
    /// How it ended.
    pub outcome: Outcome,
}

/// Who measured, on what, and by which protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredBy {
    /// The evaluator's version.
    pub evaluator: String,
    /// The MLX harness's version; absent for command problems.
    pub harness: Option<String>,
    /// MLX's version; absent for command problems.
    pub mlx: Option<String>,
    /// `cpu`, `metal` or `cuda`; absent for command problems.
    pub backend: Option<String>,
    /// The processor's or GPU's name; absent for command problems.
    pub device: Option<String>,
    /// How well the candidate was shut in: `full`, `reduced` or `none`; absent in evaluations from before there was a
    /// sandbox.
    pub sandbox: Option<String>,
    /// The protocol's name, e.g. `fixed`, `command`.
    pub protocol: String,
    /// The protocol's parameters as a JSON object.
    pub parameters: Value,
}

/// A stored evaluation; trials, artifacts and outcome have their own calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Who measured, and how.
    pub measured_by: MeasuredBy,
    /// Milliseconds since the Unix epoch.
    pub started_at: i64,
    /// Milliseconds since the Unix epoch.
    pub ended_at: i64,
}

#[derive(FromRow)]
struct Row {
    started_at: i64,
    ended_at: i64,
    evaluator: String,
    harness: Option<String>,
    mlx: Option<String>,
    backend: Option<String>,
    device: Option<String>,
    sandbox: Option<String>,
    protocol: String,
    parameters: String,
}

impl ProgramDb {
    /// Stores an evaluation with its trials, artifacts and outcome, in one transaction.
    ///
    /// # Errors
    /// [`DbError::AlreadyStored`] if the number has its outcome.
    pub async fn store_evaluation(
        &self,
        run: RunId,
        number: ProgramId,
        evaluation: &NewEvaluation,
    ) -> Result<(), DbError> {
        let by = &evaluation.measured_by;
        let mut write = self.begin().await?;
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO evaluation (run_id, number, started_at, ended_at, evaluator, harness, mlx, backend, device,
                                     sandbox, protocol, parameters)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(run)
        .bind(number.0.cast_signed())
        .bind(evaluation.started_at)
        .bind(evaluation.ended_at)
        .bind(&by.evaluator)
        .bind(&by.harness)
        .bind(&by.mlx)
        .bind(&by.backend)
        .bind(&by.device)
        .bind(&by.sandbox)
        .bind(&by.protocol)
        .bind(by.parameters.to_string())
        .fetch_one(write.connection())
        .await
        .map_err(self.error())?;
        for (index, trial) in (0..).zip(&evaluation.trials) {
            insert_trial(write.connection(), id, index, trial).await.map_err(self.error())?;
        }
        for (index, artifact) in (0..).zip(&evaluation.artifacts) {
            insert_artifact(write.connection(), id, index, artifact).await.map_err(self.error())?;
        }
        // Last: with its outcome an evaluation is complete, and triggers refuse any more of it.
        insert_outcome(self, write.connection(), run, number, &evaluation.outcome, Some(id)).await?;
        write.commit().await
    }

    /// The evaluation behind a number's outcome; none if it wasn't evaluated.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`], [`DbError::NoSuchProgram`].
    pub async fn evaluation(&self, run: RunId, number: ProgramId) -> Result<Option<Evaluation>, DbError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT evaluation.* FROM outcome JOIN evaluation ON evaluation.id = outcome.evaluation_id
             WHERE outcome.run_id = ? AND outcome.number = ?",
        )
        .bind(run)
        .bind(number.0.cast_signed())
        .fetch_optional(self.readers())
        .await
        .map_err(self.error())?;
        let Some(row) = row else {
            self.outcome(run, number).await?;
            return Ok(None);
        };
        let parameters = serde_json::from_str(&row.parameters).map_err(|error| {
            self.unreadable(format!("the protocol of program {number} of run {run}"), &error)
        })?;
        Ok(Some(Evaluation {
            measured_by: MeasuredBy {
                evaluator: row.evaluator,
                harness: row.harness,
                mlx: row.mlx,
                backend: row.backend,
                device: row.device,
                sandbox: row.sandbox,
                protocol: row.protocol,
                parameters,
            },
            started_at: row.started_at,
            ended_at: row.ended_at,
        }))
    }
}
