//! A run in numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use search::{ProgramId, Score};
use sqlx::FromRow;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// A run in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Proposals, failed ones too; the initial program isn't one.
    pub proposals: u64,
    /// Programs, the initial one included.
    pub programs: u64,
    /// Programs that an evaluator was asked about and answered, the initial one included.
    pub evaluations: u64,
    /// Programs without an outcome: they are evaluated when the run resumes.
    pub pending: u64,
    /// Finished numbers by [`search::Outcome::kind`].
    pub outcomes: BTreeMap<String, u64>,
    /// The highest score; of equal ones the earliest.
    pub best: Option<(ProgramId, Score)>,
    /// The highest score among the improved.
    pub incumbent: Option<(ProgramId, Score)>,
    /// The initial program's score.
    pub initial: Option<Score>,
    /// Time worked on it, over all sessions. A killed session counts up to the last row it stored; a running one
    /// up to its last row so far.
    pub duration: Duration,
    /// Number of sessions.
    pub sessions: u64,
    /// Proposals that mend a failed one.
    pub repairs: u64,
    /// Those of them that were measured.
    pub repaired: u64,
    /// Tokens sent, over all proposals and lessons.
    pub tokens_in: u64,
    /// Tokens received, over all proposals and lessons.
    pub tokens_out: u64,
    /// Price of all proposals and lessons; none if none has a price.
    pub cost: Option<f64>,
}

#[derive(FromRow)]
struct Counts {
    proposals: i64,
    programs: i64,
    evaluations: i64,
    pending: i64,
    repairs: i64,
    repaired: i64,
    tokens_in: i64,
    tokens_out: i64,
    cost: Option<f64>,
}

impl ProgramDb {
    /// A run in numbers.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`].
    pub async fn summary(&self, run: RunId) -> Result<Summary, DbError> {
        self.run(run).await?;
        let counts: Counts = sqlx::query_as(
            "SELECT (SELECT count(*) FROM proposal WHERE run_id = ?1 AND number > 0) AS proposals,
                    (SELECT count(*) FROM program WHERE run_id = ?1) AS programs,
                    (SELECT count(*) FROM evaluation INDEXED BY evaluation_facts WHERE run_id = ?1 AND purpose = 'search')
                    AS evaluations,
                    -- Every number has a program or an outcome, so those without an outcome have a program.
                    (SELECT count(*) FROM proposal WHERE run_id = ?1)
                    - (SELECT count(*) FROM outcome WHERE run_id = ?1) AS pending,
                    count(repairs) AS repairs,
                    (SELECT count(score) FROM proposal INDEXED BY proposal_facts CROSS JOIN outcome USING (run_id, number)
                     WHERE run_id = ?1 AND repairs IS NOT NULL) AS repaired,
                    coalesce(sum(tokens_in), 0) AS tokens_in,
                    coalesce(sum(tokens_out), 0) AS tokens_out,
                    sum(cost) AS cost
             FROM (SELECT repairs, tokens_in, tokens_out, cost FROM proposal WHERE run_id = ?1
                   UNION ALL SELECT NULL, tokens_in, tokens_out, cost FROM lesson WHERE run_id = ?1)",
        )
        .bind(run)
        .fetch_one(self.readers())
        .await
        .map_err(self.error())?;
        let outcomes: Vec<(String, i64)> =
            sqlx::query_as("SELECT kind, count(*) FROM outcome WHERE run_id = ? GROUP BY kind")
                .bind(run)
                .fetch_all(self.readers())
                .await
                .map_err(self.error())?;
        let initial: Option<f64> = sqlx::query_scalar(
            "SELECT score FROM outcome WHERE run_id = ? AND number = 0 AND score IS NOT NULL",
        )
        .bind(run)
        .fetch_optional(self.readers())
        .await
        .map_err(self.error())?;
        let (sessions, milliseconds) = self.time_worked(run).await?;
        let scored = |program: &crate::Program| program.score().map(|score| (program.number, score));
        Ok(Summary {
            proposals: counts.proposals.cast_unsigned(),
            programs: counts.programs.cast_unsigned(),
            evaluations: counts.evaluations.cast_unsigned(),
            pending: counts.pending.cast_unsigned(),
            outcomes: outcomes.into_iter().map(|(kind, count)| (kind, count.cast_unsigned())).collect(),
            best: self.best(run, 1).await?.first().and_then(scored),
            incumbent: self.incumbent(run).await?.as_ref().and_then(scored),
            initial: initial.and_then(|score| Score::new(score).ok()),
            duration: Duration::from_millis(milliseconds.cast_unsigned()),
            sessions: sessions.cast_unsigned(),
            repairs: counts.repairs.cast_unsigned(),
            repaired: counts.repaired.cast_unsigned(),
            tokens_in: counts.tokens_in.cast_unsigned(),
            tokens_out: counts.tokens_out.cast_unsigned(),
            cost: counts.cost,
        })
    }

    /// Number of sessions, and milliseconds worked in them.
    async fn time_worked(&self, run: RunId) -> Result<(i64, i64), DbError> {
        sqlx::query_as(
            "WITH span AS (
                 SELECT id, started_at, lead(started_at, 1, 9223372036854775807) OVER (ORDER BY id) AS next_at
                 FROM session WHERE run_id = ?1
             ),
             length (milliseconds) AS (
                 SELECT coalesce(
                     (SELECT ended_at FROM session_end WHERE session_id = span.id),
                     max(
                         coalesce((SELECT max(created_at) FROM proposal
                                   WHERE run_id = ?1 AND created_at >= started_at AND created_at < next_at), started_at),
                         coalesce((SELECT max(created_at) FROM outcome
                                   WHERE run_id = ?1 AND created_at >= started_at AND created_at < next_at), started_at)
                     )
                 ) - started_at
                 FROM span
             )
             SELECT count(*), coalesce(sum(max(milliseconds, 0)), 0) FROM length",
        )
        .bind(run)
        .fetch_one(self.readers())
        .await
        .map_err(self.error())
    }
}
