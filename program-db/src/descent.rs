//! Finished proposals beside the programs that they were made from: what lessons are drawn from.

use std::ops::Range;

use search::{Outcome, ProgramId};
use sqlx::FromRow;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// A finished proposal beside its parent.
#[derive(Debug, Clone, PartialEq)]
pub struct Descent {
    /// The proposal's number.
    pub number: ProgramId,
    /// What was done.
    pub operator: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The whole source text, if it led to a program.
    pub source: Option<String>,
    /// How the parent ended; none for the initial program, which has no parent, and while the parent has no outcome.
    pub parent_outcome: Option<Outcome>,
    /// The parent's source text.
    pub parent_source: Option<String>,
}

#[derive(FromRow)]
struct Row {
    number: i64,
    parent: Option<i64>,
    operator: String,
    outcome: String,
    source: Option<String>,
    parent_outcome: Option<String>,
    parent_source: Option<String>,
}

impl ProgramDb {
    /// The finished proposals among these numbers of a run, in their order.
    ///
    /// # Errors
    /// [`DbError::Unreadable`] for an outcome that this version doesn't know; not for a run that isn't there, which has none.
    pub async fn descents(&self, run: RunId, numbers: Range<u64>) -> Result<Vec<Descent>, DbError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT proposal.number, proposal.parent, proposal.operator, ended.outcome, made.source,
                    parent_ended.outcome AS parent_outcome, parent_made.source AS parent_source
             FROM proposal
             JOIN outcome AS ended ON ended.run_id = proposal.run_id AND ended.number = proposal.number
             LEFT JOIN program AS made ON made.run_id = proposal.run_id AND made.number = proposal.number
             LEFT JOIN outcome AS parent_ended
                    ON parent_ended.run_id = proposal.run_id AND parent_ended.number = proposal.parent
             LEFT JOIN program AS parent_made
                    ON parent_made.run_id = proposal.run_id AND parent_made.number = proposal.parent
             WHERE proposal.run_id = ? AND proposal.number >= ? AND proposal.number < ?
             ORDER BY proposal.number",
        )
        .bind(run)
        .bind(numbers.start.cast_signed())
        .bind(numbers.end.cast_signed())
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        rows.into_iter().map(|row| self.read_descent(run, row)).collect()
    }

    fn read_descent(&self, run: RunId, row: Row) -> Result<Descent, DbError> {
        let number = ProgramId(row.number.cast_unsigned());
        let parent = ProgramId(row.parent.unwrap_or_default().cast_unsigned());
        Ok(Descent {
            number,
            operator: row.operator,
            outcome: self.parse_outcome(run, number, &row.outcome)?,
            source: row.source,
            parent_outcome: self.read_outcome(run, parent, row.parent_outcome.as_deref())?,
            parent_source: row.parent_source,
        })
    }
}
