//! How well candidates were shut in while they were measured.

use std::collections::BTreeMap;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

impl ProgramDb {
    /// How many evaluations, comparisons included, ran in which sandbox (`full`, `reduced`, `none`), in one run or in all.
    /// Evaluations from before there was a sandbox count as `none`.
    ///
    /// # Errors
    /// [`DbError::Sqlite`] and the like.
    pub async fn sandboxes(&self, run: Option<RunId>) -> Result<BTreeMap<String, u64>, DbError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT coalesce(sandbox, 'none'), count(*) FROM evaluation WHERE ?1 IS NULL OR run_id = ?1 GROUP BY 1",
        )
        .bind(run)
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        Ok(rows.into_iter().map(|(sandbox, count)| (sandbox, count.unsigned_abs())).collect())
    }
}
