//! Trials: single measured executions, failed ones too.

use std::collections::BTreeMap;

use search::ProgramId;
use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};

use crate::db::{Insert, ProgramDb};
use crate::error::DbError;
use crate::run::RunId;

/// One trial, as it is stored and read back.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Trial {
    /// The protocol's name for this part, e.g. `fixed`, `command`.
    pub stage: String,
    /// Whose code ran: `baseline`, `candidate`, ...
    pub arm: String,
    /// Adapter initialisation and data order.
    pub seed: u64,
    /// Milliseconds since the Unix epoch.
    pub started_at: i64,
    /// Milliseconds since the Unix epoch.
    pub ended_at: i64,
    /// From the start signal to the reply.
    pub wall_seconds: Option<f64>,
    /// How it ended: `ok`, `crashed`, `timeout`, ...
    pub exit: String,
    /// Target tokens per second of `wall_seconds`.
    pub tokens_per_second: Option<f64>,
    /// Peak of MLX's allocator in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Peak resident set of the process in bytes.
    pub process_peak_bytes: Option<u64>,
    /// Loss of the last measured step.
    pub train_loss: Option<f64>,
    /// Loss on held-out batches after the last step.
    pub validation_loss: Option<f64>,
    /// The kernel's name as the runner reported it.
    pub kernel: Option<String>,
    /// Layers that the kernel was applied to.
    pub kernel_layers: Option<u32>,
    /// Further named numbers.
    pub metrics: BTreeMap<String, f64>,
    /// What went wrong.
    pub message: Option<String>,
    /// Its number in the run, if the protocol was told of it; null in trials from before they were numbered.
    pub number: Option<u64>,
    /// Which pair of the evaluation it belongs to, from 0.
    pub pair: Option<u32>,
    /// In a pair: whether the reference ran first.
    pub reference_first: Option<bool>,
    /// Numbers of the reference trials that it is compared with.
    pub references: Vec<u64>,
    /// At its start: processes that want a core, averaged over a minute, per core.
    pub load: Option<f64>,
    /// At its start: degrees Celsius.
    pub temperature: Option<f64>,
    /// At its start: the processor's clock in MHz.
    pub frequency: Option<f64>,
    /// At its start: whether the machine ran on its battery.
    pub on_battery: Option<bool>,
}

#[derive(FromRow)]
pub(crate) struct Row {
    stage: String,
    arm: String,
    seed: i64,
    started_at: i64,
    ended_at: i64,
    wall_seconds: Option<f64>,
    exit: String,
    tokens_per_second: Option<f64>,
    peak_memory_bytes: Option<i64>,
    process_peak_bytes: Option<i64>,
    train_loss: Option<f64>,
    validation_loss: Option<f64>,
    kernel: Option<String>,
    kernel_layers: Option<u32>,
    metrics: String,
    message: Option<String>,
    trial_number: Option<i64>,
    pair: Option<u32>,
    reference_first: Option<bool>,
    refs: Option<String>,
    load: Option<f64>,
    temperature: Option<f64>,
    frequency: Option<f64>,
    on_battery: Option<bool>,
}

impl ProgramDb {
    /// The trials behind a number's outcome, in the order they ran; none if it wasn't evaluated.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`], [`DbError::NoSuchProgram`].
    pub async fn trials(&self, run: RunId, number: ProgramId) -> Result<Vec<Trial>, DbError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT trial.* FROM outcome JOIN trial USING (evaluation_id)
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
        rows.into_iter().map(|row| self.read_trial(run, number, row)).collect()
    }

    pub(crate) fn read_trial(&self, run: RunId, number: ProgramId, row: Row) -> Result<Trial, DbError> {
        let metrics = serde_json::from_str(&row.metrics).map_err(|error| {
            self.unreadable(format!("the metrics of a trial of program {number} of run {run}"), &error)
        })?;
        let references = row.refs.as_deref().map_or(Ok(Vec::new()), serde_json::from_str);
        let references = references.map_err(|error| {
            self.unreadable(format!("the references of a trial of program {number} of run {run}"), &error)
        })?;
        Ok(Trial {
            stage: row.stage,
            arm: row.arm,
            seed: row.seed.cast_unsigned(),
            started_at: row.started_at,
            ended_at: row.ended_at,
            wall_seconds: row.wall_seconds,
            exit: row.exit,
            tokens_per_second: row.tokens_per_second,
            peak_memory_bytes: row.peak_memory_bytes.map(i64::cast_unsigned),
            process_peak_bytes: row.process_peak_bytes.map(i64::cast_unsigned),
            train_loss: row.train_loss,
            validation_loss: row.validation_loss,
            kernel: row.kernel,
            kernel_layers: row.kernel_layers,
            metrics,
            message: row.message,
            number: row.trial_number.map(i64::cast_unsigned),
            pair: row.pair,
            reference_first: row.reference_first,
            references,
            load: row.load,
            temperature: row.temperature,
            frequency: row.frequency,
            on_battery: row.on_battery,
        })
    }
}

/// What isn't finite becomes null: a diverged trial has no loss worth a number. (SQLite itself stores NaN as null.)
pub(crate) fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

/// `$evaluation` is whose, in SQL.
macro_rules! trial_sql {
    ($evaluation:literal) => {
        concat!(
            "INSERT INTO trial (evaluation_id, idx, stage, arm, seed, started_at, ended_at, wall_seconds, exit,
                                tokens_per_second, peak_memory_bytes, process_peak_bytes, train_loss, validation_loss,
                                kernel, kernel_layers, metrics, message, trial_number, pair, reference_first, refs, load,
                                temperature, frequency, on_battery)
             VALUES (",
            $evaluation,
            ", ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
    };
}
pub(crate) use trial_sql;

pub(crate) async fn insert_trial(
    connection: &mut SqliteConnection,
    evaluation: i64,
    index: i64,
    trial: &Trial,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query(trial_sql!("?")).bind(evaluation);
    bind_trial(query, index, trial).execute(connection).await?;
    Ok(())
}

/// Binds what [`trial_sql!`] inserts, but for the evaluation.
pub(crate) fn bind_trial<'q>(query: Insert<'q>, index: i64, trial: &'q Trial) -> Insert<'q> {
    let metrics: serde_json::Map<String, serde_json::Value> = trial
        .metrics
        .iter()
        .filter(|(_, value)| value.is_finite())
        .map(|(name, value)| (name.clone(), (*value).into()))
        .collect();
    query
        .bind(index)
        .bind(&trial.stage)
        .bind(&trial.arm)
        .bind(trial.seed.cast_signed())
        .bind(trial.started_at)
        .bind(trial.ended_at)
        .bind(finite(trial.wall_seconds))
        .bind(&trial.exit)
        .bind(finite(trial.tokens_per_second))
        .bind(trial.peak_memory_bytes.map(u64::cast_signed))
        .bind(trial.process_peak_bytes.map(u64::cast_signed))
        .bind(finite(trial.train_loss))
        .bind(finite(trial.validation_loss))
        .bind(&trial.kernel)
        .bind(trial.kernel_layers)
        .bind(serde_json::Value::Object(metrics).to_string())
        .bind(&trial.message)
        .bind(trial.number.map(u64::cast_signed))
        .bind(trial.pair)
        .bind(trial.reference_first)
        .bind(serde_json::Value::from(trial.references.as_slice()).to_string())
        .bind(finite(trial.load))
        .bind(finite(trial.temperature))
        .bind(finite(trial.frequency))
        .bind(trial.on_battery)
}
