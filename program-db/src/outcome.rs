//! Outcomes: how each proposal ended.

use search::{Outcome, ProgramId};
use sqlx::SqliteConnection;
use sqlx::error::ErrorKind;

use crate::db::{Insert, ProgramDb};
use crate::error::DbError;
use crate::run::RunId;

impl ProgramDb {
    /// Stores how a proposal ended without an evaluation, e.g. [`Outcome::Duplicate`]. (What an evaluation found goes
    /// through [`ProgramDb::store_evaluation`].)
    ///
    /// # Errors
    /// [`DbError::AlreadyStored`] if the number has its outcome.
    pub async fn store_outcome(
        &self,
        run: RunId,
        number: ProgramId,
        outcome: &Outcome,
    ) -> Result<(), DbError> {
        let mut write = self.begin().await?;
        insert_outcome(self, write.connection(), run, number, outcome, None).await?;
        write.commit().await
    }

    /// How a proposal ended; none while it hasn't.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`], [`DbError::NoSuchProgram`].
    pub async fn outcome(&self, run: RunId, number: ProgramId) -> Result<Option<Outcome>, DbError> {
        let row: Option<Option<String>> = sqlx::query_scalar(
            "SELECT outcome.outcome FROM proposal LEFT JOIN outcome USING (run_id, number)
             WHERE run_id = ? AND number = ?",
        )
        .bind(run)
        .bind(number.0.cast_signed())
        .fetch_optional(self.readers())
        .await
        .map_err(self.error())?;
        match row {
            None => Err(self.no_such_program(run, number).await),
            Some(json) => self.read_outcome(run, number, json.as_deref()),
        }
    }

    /// An outcome as its column has it; none for a number without one.
    pub(crate) fn read_outcome(
        &self,
        run: RunId,
        number: ProgramId,
        json: Option<&str>,
    ) -> Result<Option<Outcome>, DbError> {
        json.map(|json| self.parse_outcome(run, number, json)).transpose()
    }

    pub(crate) fn parse_outcome(
        &self,
        run: RunId,
        number: ProgramId,
        json: &str,
    ) -> Result<Outcome, DbError> {
        serde_json::from_str(json).map_err(|error| {
            self.unreadable(format!("the outcome of proposal {number} of run {run}"), &error)
        })
    }

    pub(crate) fn unreadable(&self, what: String, error: &serde_json::Error) -> DbError {
        DbError::Unreadable { path: self.path().to_path_buf(), what, reason: error.to_string() }
    }

    /// For `map_err` of an insertion: a row that is there already has its own error.
    pub(crate) fn stored_twice(&self, what: impl Fn() -> String) -> impl Fn(sqlx::Error) -> DbError {
        move |error| match error.as_database_error().map(sqlx::error::DatabaseError::kind) {
            Some(ErrorKind::UniqueViolation) => DbError::AlreadyStored { what: what() },
            _ => self.error()(error),
        }
    }
}

/// `$evaluation` is the one that led to it, in SQL.
macro_rules! outcome_sql {
    ($evaluation:literal) => {
        concat!(
            "INSERT INTO outcome (run_id, number, message, outcome, evaluation_id) VALUES (?, ?, ?, ?, ",
            $evaluation,
            ")"
        )
    };
}
pub(crate) use outcome_sql;

/// Inserts an outcome.
pub(crate) async fn insert_outcome(
    db: &ProgramDb,
    connection: &mut SqliteConnection,
    run: RunId,
    number: ProgramId,
    outcome: &Outcome,
    evaluation: Option<i64>,
) -> Result<(), DbError> {
    let json = outcome_json(run, number, outcome)?;
    let query = sqlx::query(outcome_sql!("?"));
    bind_outcome(query, run, number, outcome, json)
        .bind(evaluation)
        .execute(connection)
        .await
        .map_err(db.stored_twice(|| what(run, number)))?;
    Ok(())
}

/// Binds what [`outcome_sql!`] inserts, but for the evaluation.
pub(crate) fn bind_outcome<'q>(
    query: Insert<'q>,
    run: RunId,
    number: ProgramId,
    outcome: &Outcome,
    json: String,
) -> Insert<'q> {
    query.bind(run).bind(number.0.cast_signed()).bind(outcome.to_string()).bind(json)
}

/// For errors.
pub(crate) fn what(run: RunId, number: ProgramId) -> String {
    format!("the outcome of proposal {number} of run {run}")
}

/// An outcome as it is stored, having made sure that reading it back gives the same.
pub(crate) fn outcome_json(run: RunId, number: ProgramId, outcome: &Outcome) -> Result<String, DbError> {
    // JSON has no NaN: it would be written as null, and the run could not be resumed.
    serde_json::to_string(outcome)
        .ok()
        .filter(|json| serde_json::from_str::<Outcome>(json).is_ok_and(|read| read == *outcome))
        .ok_or_else(|| DbError::NotFinite { what: what(run, number) })
}
