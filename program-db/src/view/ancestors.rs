//! A program's ancestors, without their sources.

use search::ProgramId;
use serde::Serialize;
use sqlx::FromRow;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// One step of a lineage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ancestor {
    /// Its number.
    pub number: ProgramId,
    /// What made it.
    pub operator: String,
    /// The model, else the proposer.
    pub by: String,
    /// [`search::Outcome::kind`]; none while it has no outcome.
    pub kind: Option<String>,
    /// The score, if measured.
    pub score: Option<f64>,
    /// The verdict, if measured.
    pub verdict: Option<String>,
}

#[derive(FromRow)]
struct Row {
    number: i64,
    operator: String,
    by: String,
    kind: Option<String>,
    score: Option<f64>,
    verdict: Option<String>,
}

impl ProgramDb {
    /// A proposal and its ancestors, from the initial program on; none of a number that the run doesn't have.
    pub async fn ancestors(&self, run: RunId, number: ProgramId) -> Result<Vec<Ancestor>, DbError> {
        let rows: Vec<Row> = sqlx::query_as(
            "WITH RECURSIVE ancestor (n) AS (
                 SELECT ?2
                 UNION ALL
                 SELECT (SELECT parent FROM proposal INDEXED BY proposal_facts WHERE run_id = ?1 AND number = n) FROM ancestor
                 WHERE n IS NOT NULL
             )
             SELECT proposal.number, operator, coalesce(model, proposer) AS by, kind, score, verdict
             FROM ancestor CROSS JOIN proposal INDEXED BY proposal_facts ON proposal.run_id = ?1 AND proposal.number = n
             LEFT JOIN outcome INDEXED BY outcome_facts ON outcome.run_id = ?1 AND outcome.number = n
             ORDER BY proposal.number",
        )
        .bind(run)
        .bind(number.0.cast_signed())
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        let read = |row: Row| Ancestor {
            number: ProgramId(row.number.cast_unsigned()),
            operator: row.operator,
            by: row.by,
            kind: row.kind,
            score: row.score,
            verdict: row.verdict,
        };
        Ok(rows.into_iter().map(read).collect())
    }
}
