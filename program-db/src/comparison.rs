//! Comparisons: a program measured against somebody else's, outside the search.

use search::ProgramId;
use serde_json::Value;
use sqlx::FromRow;

use crate::db::ProgramDb;
use crate::decision::{self, Decision, insert_decision};
use crate::error::DbError;
use crate::evaluation::{self, Evaluation, MeasuredBy, Measurement, insert_evaluation, next_evaluation};
use crate::run::RunId;
use crate::trial::{self, Trial, insert_trial};

/// A finished comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct NewComparison {
    /// Who measured, and how.
    pub measured_by: MeasuredBy,
    /// Milliseconds since the Unix epoch.
    pub started_at: i64,
    /// Milliseconds since the Unix epoch.
    pub ended_at: i64,
    /// Every trial of both in the order it ran, failed ones too.
    pub trials: Vec<Trial>,
    /// Every look that the protocol took, in order.
    pub decisions: Vec<Decision>,
    /// The protocol's last word with all its numbers, as a JSON object; absent if it came to none.
    pub judgement: Option<Value>,
}

/// A stored comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Whom the program was compared with: `baseline` or `mlx_lm`.
    pub opponent: String,
    /// Who measured, when, and the judgement.
    pub evaluation: Evaluation,
    /// Every trial of both in the order it ran, failed ones too.
    pub trials: Vec<Trial>,
    /// Every look that the protocol took, in order.
    pub decisions: Vec<Decision>,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    opponent: String,
    #[sqlx(flatten)]
    evaluation: evaluation::Row,
}

impl ProgramDb {
    /// Stores a comparison of a program with `opponent`, with its trials and decisions, in one transaction. A program may be
    /// compared any number of times.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`], [`DbError::NoSuchProgram`], [`DbError::NoProgram`].
    pub async fn store_comparison(
        &self,
        run: RunId,
        number: ProgramId,
        opponent: &str,
        comparison: &NewComparison,
    ) -> Result<(), DbError> {
        self.program(run, number).await?;
        let mut write = self.begin().await?;
        // The evaluation's own row is the last: with it a comparison is complete, and triggers refuse any more of it. Until
        // the transaction ends the others may refer to a row that isn't there.
        sqlx::query("PRAGMA defer_foreign_keys = ON")
            .execute(write.connection())
            .await
            .map_err(self.error())?;
        let id = next_evaluation(write.connection()).await.map_err(self.error())?;
        for (index, trial) in (0..).zip(&comparison.trials) {
            insert_trial(write.connection(), id, index, trial).await.map_err(self.error())?;
        }
        for (index, decision) in (0..).zip(&comparison.decisions) {
            insert_decision(write.connection(), id, index, decision).await.map_err(self.error())?;
        }
        let measurement = Measurement {
            run,
            number,
            measured_by: &comparison.measured_by,
            started_at: comparison.started_at,
            ended_at: comparison.ended_at,
            judgement: comparison.judgement.as_ref(),
        };
        insert_evaluation(write.connection(), Some(id), measurement, Some(opponent))
            .await
            .map_err(self.error())?;
        write.commit().await
    }

    /// All comparisons of a program, the latest first.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`], [`DbError::NoSuchProgram`].
    pub async fn comparisons(&self, run: RunId, number: ProgramId) -> Result<Vec<Comparison>, DbError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT * FROM evaluation WHERE run_id = ? AND number = ? AND purpose = 'comparison' ORDER BY id DESC",
        )
        .bind(run)
        .bind(number.0.cast_signed())
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        if rows.is_empty() {
            self.outcome(run, number).await?;
        }
        let mut comparisons = Vec::new();
        for row in rows {
            comparisons.push(self.read_comparison(run, number, row).await?);
        }
        Ok(comparisons)
    }

    async fn read_comparison(&self, run: RunId, number: ProgramId, row: Row) -> Result<Comparison, DbError> {
        let trials: Vec<trial::Row> =
            sqlx::query_as("SELECT * FROM trial WHERE evaluation_id = ? ORDER BY idx")
                .bind(row.id)
                .fetch_all(self.readers())
                .await
                .map_err(self.error())?;
        let decisions: Vec<decision::Row> =
            sqlx::query_as("SELECT * FROM decision WHERE evaluation_id = ? ORDER BY idx")
                .bind(row.id)
                .fetch_all(self.readers())
                .await
                .map_err(self.error())?;
        let trials = trials.into_iter().map(|trial| self.read_trial(run, number, trial));
        let decisions = decisions.into_iter().map(|decision| self.read_decision(run, number, decision));
        Ok(Comparison {
            opponent: row.opponent,
            evaluation: self.read_evaluation(run, number, row.evaluation)?,
            trials: trials.collect::<Result<_, _>>()?,
            decisions: decisions.collect::<Result<_, _>>()?,
        })
    }
}
