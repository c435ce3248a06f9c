//! Scores over the numbers of a run, thinned out.

use search::{Outcome, ProgramId};
use serde::Serialize;
use sqlx::FromRow;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// Scores over a run's numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// Numbers in each bucket; 1 if nothing was thinned out.
    pub width: u64,
    /// The highest number with an outcome; none if there is no outcome.
    pub last: Option<ProgramId>,
    /// Buckets with an outcome, in the order of their numbers.
    pub buckets: Vec<Bucket>,
}

/// Some neighbouring numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bucket {
    /// The first number that could be in it.
    pub first: ProgramId,
    /// How many of them ended.
    pub ended: u32,
    /// How many of those were measured.
    pub measured: u32,
    /// The highest score with its number; none if none was measured.
    pub best: Option<(ProgramId, f64)>,
    /// The lowest score.
    pub worst: Option<f64>,
    /// The best one's verdict.
    pub verdict: Option<String>,
}

/// A program that was better than all before it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Which.
    pub number: ProgramId,
    /// Its score.
    pub score: f64,
    /// The best before it; none for the first.
    pub before: Option<f64>,
    /// What made it.
    pub operator: String,
    /// Who proposed it.
    pub proposer: String,
    /// The model that answered.
    pub model: Option<String>,
    /// How it ended, with all numbers; only for the last [`DETAILED`] steps.
    #[serde(skip)]
    pub outcome: Option<Outcome>,
}

impl Step {
    /// The model, else the proposer.
    pub fn by(&self) -> &str {
        self.model.as_deref().unwrap_or(&self.proposer)
    }
}

/// Steps whose whole outcomes are read.
const DETAILED: usize = 200;

#[derive(FromRow)]
struct BucketRow {
    bucket: i64,
    ended: u32,
    measured: u32,
    best: Option<f64>,
    number: i64,
    verdict: Option<String>,
}

#[derive(FromRow)]
struct StepRow {
    number: i64,
    score: f64,
    before: Option<f64>,
    operator: String,
    proposer: String,
    model: Option<String>,
}

impl ProgramDb {
    /// A run's scores in at most about `most` buckets of equally many numbers.
    pub async fn series(&self, run: RunId, most: u32) -> Result<Series, DbError> {
        let last: Option<i64> = sqlx::query_scalar("SELECT max(number) FROM outcome WHERE run_id = ?")
            .bind(run)
            .fetch_one(self.readers())
            .await
            .map_err(self.error())?;
        let width = last.map_or(1, |last| last / i64::from(most.max(1)) + 1);
        // SQLite takes plain columns beside one `max` from the row that has it; so the lowest need a query of their own.
        let rows: Vec<BucketRow> = sqlx::query_as(
            "SELECT number / ?2 AS bucket, count(*) AS ended, count(score) AS measured, max(score) AS best, number, verdict
             FROM outcome INDEXED BY outcome_facts WHERE run_id = ?1 GROUP BY 1 ORDER BY 1",
        )
        .bind(run)
        .bind(width)
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        let worst: Vec<(i64, f64)> = if width == 1 {
            rows.iter().filter_map(|row| Some((row.bucket, row.best?))).collect()
        } else {
            sqlx::query_as(
                "SELECT number / ?2, min(score) FROM outcome INDEXED BY outcome_facts
                 WHERE run_id = ?1 AND score IS NOT NULL GROUP BY 1",
            )
            .bind(run)
            .bind(width)
            .fetch_all(self.readers())
            .await
            .map_err(self.error())?
        };
        let worst: std::collections::BTreeMap<i64, f64> = worst.into_iter().collect();
        let read = |row: BucketRow| Bucket {
            first: ProgramId((row.bucket * width).cast_unsigned()),
            ended: row.ended,
            measured: row.measured,
            best: row.best.map(|best| (ProgramId(row.number.cast_unsigned()), best)),
            // A row that came between the two queries has no lowest yet.
            worst: worst.get(&row.bucket).copied().or(row.best),
            verdict: row.verdict,
        };
        Ok(Series {
            width: width.cast_unsigned(),
            last: last.map(|last| ProgramId(last.cast_unsigned())),
            buckets: rows.into_iter().map(read).collect(),
        })
    }

    /// Every program of a run that was better than all with smaller numbers, in order.
    pub async fn steps(&self, run: RunId) -> Result<Vec<Step>, DbError> {
        let rows: Vec<StepRow> = sqlx::query_as(
            "WITH scored AS (
                 SELECT number, score,
                        max(score) OVER (ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
                 FROM outcome INDEXED BY outcome_facts WHERE run_id = ?1 AND score IS NOT NULL
             ),
             step AS MATERIALIZED (SELECT * FROM scored WHERE before IS NULL OR score > before)
             SELECT step.number, score, before, operator, proposer, model
             FROM step JOIN proposal INDEXED BY proposal_facts ON run_id = ?1 AND proposal.number = step.number ORDER BY step.number",
        )
        .bind(run)
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        let plain = rows.len().saturating_sub(DETAILED);
        let mut steps = Vec::with_capacity(rows.len());
        for (index, row) in rows.into_iter().enumerate() {
            let number = ProgramId(row.number.cast_unsigned());
            let outcome = if index < plain { None } else { self.outcome(run, number).await? };
            steps.push(Step {
                number,
                score: row.score,
                before: row.before,
                operator: row.operator,
                proposer: row.proposer,
                model: row.model,
                outcome,
            });
        }
        Ok(steps)
    }
}
