//! How a run's proposals ended, by kind.

use search::ProgramId;
use sqlx::FromRow;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// One kind of outcome.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FailureKind {
    /// [`search::Outcome::kind`]; `measured` is no failure.
    pub kind: String,
    /// How many ended so.
    pub count: u64,
    /// The latest that did (by the time its outcome was stored).
    pub latest: ProgramId,
    /// Its outcome in one line.
    pub message: String,
}

#[derive(FromRow)]
struct Row {
    kind: String,
    count: i64,
    latest: i64,
    message: String,
}

impl ProgramDb {
    /// How a run's proposals ended (the initial program isn't one), the most frequent kind first, `measured` among them.
    pub async fn endings(&self, run: RunId) -> Result<Vec<FailureKind>, DbError> {
        let rows: Vec<Row> = sqlx::query_as(
            "WITH kinds AS MATERIALIZED (
                 SELECT kind, count(*) AS count, max(rowid) AS latest FROM outcome INDEXED BY outcome_by_kind
                 WHERE run_id = ?1 GROUP BY kind
             ),
             initial AS (SELECT kind FROM outcome WHERE run_id = ?1 AND number = 0)
             SELECT kinds.kind, count - (SELECT count(*) FROM initial WHERE initial.kind = kinds.kind) AS count,
                    number AS latest, message
             FROM kinds JOIN outcome ON outcome.rowid = latest WHERE outcome.number > 0 ORDER BY 2 DESC, 1",
        )
        .bind(run)
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        let read = |row: Row| FailureKind {
            kind: row.kind,
            count: row.count.cast_unsigned(),
            latest: ProgramId(row.latest.cast_unsigned()),
            message: row.message,
        };
        Ok(rows.into_iter().map(read).collect())
    }
}
