//! Artifacts: texts that an evaluation leaves for people and for the next prompt.

use search::ProgramId;
use sqlx::{FromRow, SqliteConnection};

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// A named text.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Artifact {
    /// What it is, e.g. `compiler`, `comparisons`, `stderr`.
    pub name: String,
    /// The text.
    pub content: String,
}

impl ProgramDb {
    /// What the evaluation behind a number's outcome left, in its order; none if it wasn't evaluated.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`], [`DbError::NoSuchProgram`].
    pub async fn artifacts(&self, run: RunId, number: ProgramId) -> Result<Vec<Artifact>, DbError> {
        let artifacts: Vec<Artifact> = sqlx::query_as(
            "SELECT name, content FROM outcome JOIN artifact USING (evaluation_id)
             WHERE run_id = ? AND number = ? ORDER BY idx",
        )
        .bind(run)
        .bind(number.0.cast_signed())
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        if artifacts.is_empty() {
            self.outcome(run, number).await?;
        }
        Ok(artifacts)
    }
}

pub(crate) async fn insert_artifact(
    connection: &mut SqliteConnection,
    evaluation: i64,
    index: i64,
    artifact: &Artifact,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO artifact (evaluation_id, idx, name, content) VALUES (?, ?, ?, ?)")
        .bind(evaluation)
        .bind(index)
        .bind(&artifact.name)
        .bind(&artifact.content)
        .execute(connection)
        .await?;
    Ok(())
}
