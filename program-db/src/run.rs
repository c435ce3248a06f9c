//! Runs: one configuration, seed and history each.

use search::ProgramId;
use sqlx::{FromRow, SqliteConnection};

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::program::NewProgram;
use crate::proposal::insert_initial;

/// A run's number in its database, from 1.
pub type RunId = i64;

/// A run to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// For people.
    pub title: String,
    /// The problem's name.
    pub problem: String,
    /// The configuration as written, `${VAR}` unexpanded: it holds no secrets.
    pub config: String,
    /// Where it was read from, absolute: relative paths in it start at this file's folder.
    pub config_path: String,
    /// What all randomness of the search comes from.
    pub seed: u64,
    /// How many proposals are asked for before the first outcome is known; at least 1.
    pub lookahead: u32,
    /// Program 0.
    pub initial: NewProgram,
}

/// A stored run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// Milliseconds since the Unix epoch.
    pub created_at: i64,
    /// For people.
    pub title: String,
    /// The problem's name.
    pub problem: String,
    /// The configuration as written, `${VAR}` unexpanded.
    pub config: String,
    /// Where it was read from, absolute: relative paths in it start at this file's folder.
    pub config_path: String,
    /// What all randomness of the search comes from.
    pub seed: u64,
    /// How many proposals are asked for before the first outcome is known.
    pub lookahead: u32,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    created_at: i64,
    title: String,
    problem: String,
    config: String,
    config_path: String,
    seed: i64,
    lookahead: u32,
}

impl From<Row> for Run {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            created_at: row.created_at,
            title: row.title,
            problem: row.problem,
            config: row.config,
            config_path: row.config_path,
            seed: row.seed.cast_unsigned(),
            lookahead: row.lookahead,
        }
    }
}

impl ProgramDb {
    /// Stores a run together with its initial program, which is number 0 and needs no [`ProgramDb::store_proposal`].
    pub async fn create_run(&self, run: &NewRun) -> Result<RunId, DbError> {
        let mut write = self.begin().await?;
        let id = insert_run(write.connection(), run).await.map_err(self.error())?;
        insert_initial(write.connection(), id, &run.initial).await.map_err(self.error())?;
        write.commit().await?;
        Ok(id)
    }

    /// All runs, oldest first.
    pub async fn runs(&self) -> Result<Vec<Run>, DbError> {
        let rows: Vec<Row> = sqlx::query_as("SELECT * FROM run ORDER BY id")
            .fetch_all(self.readers())
            .await
            .map_err(self.error())?;
        Ok(rows.into_iter().map(Run::from).collect())
    }

    /// One run.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`].
    pub async fn run(&self, id: RunId) -> Result<Run, DbError> {
        let row: Option<Row> = sqlx::query_as("SELECT * FROM run WHERE id = ?")
            .bind(id)
            .fetch_optional(self.readers())
            .await
            .map_err(self.error())?;
        row.map(Run::from).ok_or_else(|| DbError::NoSuchRun { path: self.path().to_path_buf(), run: id })
    }

    /// The run that was started last.
    ///
    /// # Errors
    /// [`DbError::NoRuns`].
    pub async fn latest_run(&self) -> Result<Run, DbError> {
        let row: Option<Row> = sqlx::query_as("SELECT * FROM run ORDER BY id DESC LIMIT 1")
            .fetch_optional(self.readers())
            .await
            .map_err(self.error())?;
        row.map(Run::from).ok_or_else(|| DbError::NoRuns { path: self.path().to_path_buf() })
    }

    /// The error for a number that a run doesn't have.
    pub(crate) async fn no_such_program(&self, run: RunId, number: ProgramId) -> DbError {
        if let Err(error) = self.run(run).await {
            return error;
        }
        let last: Result<Option<i64>, _> =
            sqlx::query_scalar("SELECT max(number) FROM proposal WHERE run_id = ?")
                .bind(run)
                .fetch_one(self.readers())
                .await;
        match last {
            Ok(last) => {
                DbError::NoSuchProgram { run, number, last: last.map(|last| ProgramId(last.cast_unsigned())) }
            }
            Err(error) => self.error()(error),
        }
    }
}

/// The row itself, without any program.
pub(crate) async fn insert_run(
    connection: &mut SqliteConnection,
    run: &NewRun,
) -> Result<RunId, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO run (title, problem, config, config_path, seed, lookahead)
         VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(&run.title)
    .bind(&run.problem)
    .bind(&run.config)
    .bind(&run.config_path)
    .bind(run.seed.cast_signed())
    .bind(run.lookahead)
    .fetch_one(connection)
    .await
}
