//! How steady the machine was: trials of the reference over a run, thinned out.

use search::ProgramId;
use sqlx::FromRow;

use super::series::Step;
use crate::db::ProgramDb;
use crate::error::DbError;
use crate::history::ReferenceTrial;
use crate::run::RunId;

/// The reference's trials over a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeviceTrace {
    /// In the order of time.
    pub trials: Vec<ReferenceTrial>,
    /// Of how many evaluations one is shown; 1: all.
    pub every: u64,
    /// When another program became the reference: milliseconds since the Unix epoch, and which.
    pub promotions: Vec<(i64, ProgramId)>,
}

#[derive(FromRow)]
struct Row {
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

/// Numbers below this are asked for a claim if they improved; later ones only if they raised the best score, as nearly every claim does.
const ASKED: i64 = 5_000;

impl ProgramDb {
    /// The successful trials of the reference (or of the baseline, under protocols without one) in about `most` of a run's
    /// evaluations, spread evenly over it. `steps` are [`ProgramDb::steps`].
    pub async fn device_trace(&self, run: RunId, most: u32, steps: &[Step]) -> Result<DeviceTrace, DbError> {
        let last: Option<i64> = sqlx::query_scalar("SELECT max(number) FROM evaluation WHERE run_id = ?")
            .bind(run)
            .fetch_one(self.readers())
            .await
            .map_err(self.error())?;
        let every = last.map_or(1, |last| last / i64::from(most.max(1)) + 1);
        let rows: Vec<Row> = sqlx::query_as(
            "WITH RECURSIVE sample (n) AS (SELECT 0 UNION ALL SELECT n + ?2 FROM sample WHERE n + ?2 <= ?3)
             SELECT trial.started_at, seed, arm, number, tokens_per_second, peak_memory_bytes, load, temperature, frequency
             FROM sample CROSS JOIN evaluation ON run_id = ?1 AND number = n JOIN trial ON trial.evaluation_id = evaluation.id
             WHERE purpose = 'search' AND arm IN ('reference', 'baseline') AND exit = 'ok'
             ORDER BY trial.started_at, evaluation_id, idx",
        )
        .bind(run)
        .bind(every)
        .bind(last.unwrap_or(-1))
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        let read = |row: Row| ReferenceTrial {
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
        let trials: Vec<ReferenceTrial> = rows.into_iter().map(read).collect();
        let promotions = if trials.is_empty() { Vec::new() } else { self.promotions(run, steps).await? };
        Ok(DeviceTrace { trials, every: every.cast_unsigned(), promotions })
    }

    /// A claimed program is the reference from then on.
    async fn promotions(&self, run: RunId, steps: &[Step]) -> Result<Vec<(i64, ProgramId)>, DbError> {
        let asked: Vec<u64> = steps.iter().map(|step| step.number.0).collect();
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT (SELECT max(ended_at) FROM trial WHERE evaluation_id = outcome.evaluation_id), outcome.number
             FROM outcome JOIN evaluation ON evaluation.id = outcome.evaluation_id
             WHERE outcome.run_id = ?1 AND outcome.number IN (
                 SELECT value FROM json_each(?2)
                 UNION SELECT number FROM outcome INDEXED BY outcome_facts
                 WHERE run_id = ?1 AND number < ?3 AND verdict = 'improved'
             ) AND json_type(judgement, '$.claim') = 'object' ORDER BY 1",
        )
        .bind(run)
        .bind(serde_json::json!(asked).to_string())
        .bind(ASKED)
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        Ok(rows.into_iter().map(|(at, number)| (at, ProgramId(number.cast_unsigned()))).collect())
    }
}
