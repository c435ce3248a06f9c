//! Evaluations: what measured a program, when, and everything it found.

use search::{Outcome, ProgramId};
use serde_json::Value;
use sqlx::{FromRow, SqliteConnection};

use crate::artifact::{Artifact, insert_artifact};
use crate::db::{Insert, ProgramDb};
use crate::decision::{Decision, insert_decision};
use crate::error::DbError;
use crate::outcome::{bind_outcome, insert_outcome, outcome_json, outcome_sql, what};
use crate::run::RunId;
use crate::trial::{Trial, bind_trial, insert_trial, trial_sql};

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
    /// Every look that the protocol took, in order.
    pub decisions: Vec<Decision>,
    /// The protocol's last word with all its numbers, as a JSON object; absent if it came to none.
    pub judgement: Option<Value>,
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

/// A stored evaluation; trials, decisions, artifacts and outcome have their own calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Who measured, and how.
    pub measured_by: MeasuredBy,
    /// Milliseconds since the Unix epoch.
    pub started_at: i64,
    /// Milliseconds since the Unix epoch.
    pub ended_at: i64,
    /// The protocol's last word with all its numbers, as a JSON object; absent if it came to none.
    pub judgement: Option<Value>,
}

#[derive(FromRow)]
pub(crate) struct Row {
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
    judgement: Option<String>,
}

/// What every evaluation has, whatever it was made for.
pub(crate) struct Measurement<'a> {
    pub(crate) run: RunId,
    pub(crate) number: ProgramId,
    pub(crate) measured_by: &'a MeasuredBy,
    pub(crate) started_at: i64,
    pub(crate) ended_at: i64,
    pub(crate) judgement: Option<&'a Value>,
}

impl ProgramDb {
    /// Stores an evaluation with its trials, decisions, artifacts and outcome, in one transaction.
    ///
    /// # Errors
    /// [`DbError::AlreadyStored`] if the number has its outcome.
    pub async fn store_evaluation(
        &self,
        run: RunId,
        number: ProgramId,
        evaluation: &NewEvaluation,
    ) -> Result<(), DbError> {
        let mut write = self.begin().await?;
        insert_whole(self, write.connection(), run, number, evaluation).await?;
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
        self.read_evaluation(run, number, row).map(Some)
    }

    /// The last words that a run's protocol came to and that have this key, in the order in which they were stored.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`].
    pub async fn judgements(&self, run: RunId, key: &str) -> Result<Vec<Value>, DbError> {
        self.run(run).await?;
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT number, judgement FROM evaluation
             WHERE run_id = ? AND purpose = 'search' AND json_type(judgement, '$.' || ?) IS NOT NULL ORDER BY id",
        )
        .bind(run)
        .bind(key)
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        let read = |(number, judgement): (i64, String)| {
            self.read_judgement(run, ProgramId(number.cast_unsigned()), Some(&judgement))
        };
        rows.into_iter().filter_map(|row| read(row).transpose()).collect()
    }

    pub(crate) fn read_evaluation(
        &self,
        run: RunId,
        number: ProgramId,
        row: Row,
    ) -> Result<Evaluation, DbError> {
        let parameters = serde_json::from_str(&row.parameters).map_err(|error| {
            self.unreadable(format!("the protocol of program {number} of run {run}"), &error)
        })?;
        Ok(Evaluation {
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
            judgement: self.read_judgement(run, number, row.judgement.as_deref())?,
        })
    }

    pub(crate) fn read_judgement(
        &self,
        run: RunId,
        number: ProgramId,
        json: Option<&str>,
    ) -> Result<Option<Value>, DbError> {
        json.map(serde_json::from_str).transpose().map_err(|error| {
            self.unreadable(format!("the judgement on program {number} of run {run}"), &error)
        })
    }
}

macro_rules! evaluation_sql {
    () => {
        "INSERT INTO evaluation (id, run_id, number, started_at, ended_at, evaluator, harness, mlx, backend, device,
                                 sandbox, protocol, parameters, purpose, opponent, judgement)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    };
}

/// Inserts an evaluation with everything that belongs to it.
pub(crate) async fn insert_whole(
    db: &ProgramDb,
    connection: &mut SqliteConnection,
    run: RunId,
    number: ProgramId,
    evaluation: &NewEvaluation,
) -> Result<(), DbError> {
    let measurement = Measurement {
        run,
        number,
        measured_by: &evaluation.measured_by,
        started_at: evaluation.started_at,
        ended_at: evaluation.ended_at,
        judgement: evaluation.judgement.as_ref(),
    };
    if let ([trial], [], []) = (&*evaluation.trials, &*evaluation.decisions, &*evaluation.artifacts) {
        // What a short evaluation comes to: all of it at once.
        let json = outcome_json(run, number, &evaluation.outcome)?;
        let query = sqlx::query(concat!(
            evaluation_sql!(),
            ";",
            trial_sql!("(SELECT max(id) FROM evaluation)"),
            ";",
            outcome_sql!("(SELECT max(id) FROM evaluation)")
        ));
        let query = bind_trial(bind_evaluation(query, None, measurement, None), 0, trial);
        let query = bind_outcome(query, run, number, &evaluation.outcome, json);
        query.execute(connection).await.map_err(db.stored_twice(|| what(run, number)))?;
        return Ok(());
    }
    let id = insert_evaluation(connection, None, measurement, None).await.map_err(db.error())?;
    for (index, trial) in (0..).zip(&evaluation.trials) {
        insert_trial(connection, id, index, trial).await.map_err(db.error())?;
    }
    for (index, decision) in (0..).zip(&evaluation.decisions) {
        insert_decision(connection, id, index, decision).await.map_err(db.error())?;
    }
    for (index, artifact) in (0..).zip(&evaluation.artifacts) {
        insert_artifact(connection, id, index, artifact).await.map_err(db.error())?;
    }
    // Last: with its outcome an evaluation is complete, and triggers refuse any more of it.
    insert_outcome(db, connection, run, number, &evaluation.outcome, Some(id)).await
}

/// The id that the next evaluation gets, within a transaction that writes.
pub(crate) async fn next_evaluation(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT coalesce(max(id), 0) + 1 FROM evaluation").fetch_one(connection).await
}

/// Inserts the row itself, with this id or else the next, which it returns. `opponent` makes it a comparison.
pub(crate) async fn insert_evaluation(
    connection: &mut SqliteConnection,
    id: Option<i64>,
    measurement: Measurement<'_>,
    opponent: Option<&str>,
) -> Result<i64, sqlx::Error> {
    let query = sqlx::query(evaluation_sql!());
    let inserted = bind_evaluation(query, id, measurement, opponent).execute(connection).await?;
    Ok(inserted.last_insert_rowid())
}

fn bind_evaluation<'q>(
    query: Insert<'q>,
    id: Option<i64>,
    measurement: Measurement<'q>,
    opponent: Option<&'q str>,
) -> Insert<'q> {
    let Measurement { run, number, measured_by: by, started_at, ended_at, judgement } = measurement;
    query
        .bind(id)
        .bind(run)
        .bind(number.0.cast_signed())
        .bind(started_at)
        .bind(ended_at)
        .bind(&by.evaluator)
        .bind(&by.harness)
        .bind(&by.mlx)
        .bind(&by.backend)
        .bind(&by.device)
        .bind(&by.sandbox)
        .bind(&by.protocol)
        .bind(by.parameters.to_string())
        .bind(if opponent.is_some() { "comparison" } else { "search" })
        .bind(opponent)
        .bind(judgement.map(Value::to_string))
}
