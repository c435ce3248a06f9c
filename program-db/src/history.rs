//! What the statistics of a run need to go on, and the reference's trace through it.

use futures::TryStreamExt as _;
use search::ProgramId;
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;
use crate::trial::{self, Trial};

/// One evaluation of a search that a protocol was told of.
#[derive(Debug, Clone, PartialEq)]
pub struct PastMeasurement {
    /// Whose.
    pub number: ProgramId,
    /// Hash of the program's tokens.
    pub code_hash: String,
    /// The protocol's last word; absent if it came to none.
    pub judgement: Option<Value>,
    /// All trials in the order they ran. Those without a number weren't told to the protocol.
    pub trials: Vec<Trial>,
}

/// A successful trial of the code that candidates are compared with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReferenceTrial {
    /// Milliseconds since the Unix epoch.
    pub started_at: i64,
    /// Adapter initialisation and data order.
    pub seed: u64,
    /// `reference` or `baseline`.
    pub arm: String,
    /// The program that was being evaluated.
    pub number: ProgramId,
    /// Target tokens per second.
    pub tokens_per_second: Option<f64>,
    /// Peak of MLX's allocator in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Processes that want a core, averaged over a minute, per core.
    pub load: Option<f64>,
    /// Degrees Celsius.
    pub temperature: Option<f64>,
    /// The processor's clock in MHz.
    pub frequency: Option<f64>,
}

#[derive(FromRow)]
struct Row {
    evaluation_id: i64,
    number: i64,
    code_hash: String,
    judgement: Option<String>,
    #[sqlx(flatten)]
    trial: trial::Row,
}

#[derive(FromRow)]
struct ReferenceRow {
    started_at: i64,
    seed: i64,
    arm: String,
    number: i64,
    tokens_per_second: Option<f64>,
    peak_memory_bytes: Option<i64>,
    load: Option<f64>,
    temperature: Option<f64>,
    frequency: Option<f64>,
}

impl ProgramDb {
    /// The evaluations of a run's search that have a numbered trial, in the order of their first numbers. Comparisons
    /// aren't among them: search doesn't learn from those.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`].
    pub async fn measured_history(&self, run: RunId) -> Result<Vec<PastMeasurement>, DbError> {
        self.run(run).await?;
        // In the order of an index. All at once, so that what is stored meanwhile can't come between; and the judgement, which
        // is long, with its first trial only. Evaluations that no protocol was told of, such as all of a command problem, are
        // left out before their trials are read.
        let mut rows = sqlx::query_as::<_, Row>(
            "SELECT number, code_hash, CASE idx WHEN 0 THEN judgement END AS judgement, trial.*
             FROM evaluation JOIN program USING (run_id, number) JOIN trial ON trial.evaluation_id = evaluation.id
             WHERE run_id = ? AND purpose = 'search' AND EXISTS (
                 SELECT 1 FROM trial AS told WHERE told.evaluation_id = evaluation.id AND told.trial_number IS NOT NULL)
             ORDER BY number, evaluation.id, idx",
        )
        .bind(run)
        .fetch(self.readers());
        let mut history: Vec<PastMeasurement> = Vec::new();
        let mut latest = None;
        while let Some(row) = rows.try_next().await.map_err(self.error())? {
            let number = ProgramId(row.number.cast_unsigned());
            let trial = self.read_trial(run, number, row.trial)?;
            match history.last_mut() {
                Some(past) if latest == Some(row.evaluation_id) => past.trials.push(trial),
                _ => history.push(PastMeasurement {
                    number,
                    code_hash: row.code_hash,
                    judgement: self.read_judgement(run, number, row.judgement.as_deref())?,
                    trials: vec![trial],
                }),
            }
            latest = Some(row.evaluation_id);
        }
        let first = |past: &PastMeasurement| past.trials.iter().filter_map(|trial| trial.number).min();
        history.retain(|past| first(past).is_some());
        history.sort_by_key(first);
        Ok(history)
    }

    /// The number that the run's next trial gets: one more than the highest, comparisons included; 0 is the first.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`].
    pub async fn next_trial_number(&self, run: RunId) -> Result<u64, DbError> {
        self.run(run).await?;
        let next: i64 = sqlx::query_scalar(
            "SELECT coalesce(max(trial_number) + 1, 0)
             FROM evaluation JOIN trial ON trial.evaluation_id = evaluation.id WHERE run_id = ?",
        )
        .bind(run)
        .fetch_one(self.readers())
        .await
        .map_err(self.error())?;
        Ok(next.cast_unsigned())
    }

    /// Every successful trial of the reference (or of the baseline, under protocols without one) in a run's search, in the
    /// order of time.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`].
    pub async fn reference_trace(&self, run: RunId) -> Result<Vec<ReferenceTrial>, DbError> {
        self.run(run).await?;
        let rows: Vec<ReferenceRow> = sqlx::query_as(
            "SELECT trial.started_at, seed, arm, number, tokens_per_second, peak_memory_bytes, load, temperature, frequency
             FROM evaluation JOIN trial ON trial.evaluation_id = evaluation.id
             WHERE run_id = ? AND purpose = 'search' AND arm IN ('reference', 'baseline') AND exit = 'ok'
             ORDER BY trial.started_at, evaluation_id, idx",
        )
        .bind(run)
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        let read = |row: ReferenceRow| ReferenceTrial {
            started_at: row.started_at,
            seed: row.seed.cast_unsigned(),
            arm: row.arm,
            number: ProgramId(row.number.cast_unsigned()),
            tokens_per_second: row.tokens_per_second,
            peak_memory_bytes: row.peak_memory_bytes.map(i64::cast_unsigned),
            load: row.load,
            temperature: row.temperature,
            frequency: row.frequency,
        };
        Ok(rows.into_iter().map(read).collect())
    }
}
