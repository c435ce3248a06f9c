//! Sessions: the processes that worked on a run.

use sqlx::FromRow;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// A session's number in its database.
pub type SessionId = i64;

/// A process that worked on a run, or works on it now.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// Milliseconds since the Unix epoch.
    pub started_at: i64,
    /// Process id.
    pub pid: u32,
    /// The version of evolve.
    pub version: String,
    /// Milliseconds since the Unix epoch; absent if it was killed or still runs.
    pub ended_at: Option<i64>,
    /// Why it ended; absent if it was killed or still runs.
    pub reason: Option<String>,
}

impl ProgramDb {
    /// Notes that this process starts to work on a run. Take [`ProgramDb::lock_run`] first.
    pub async fn start_session(&self, run: RunId, version: &str) -> Result<SessionId, DbError> {
        self.run(run).await?;
        let mut write = self.begin().await?;
        let id =
            sqlx::query_scalar("INSERT INTO session (run_id, pid, version) VALUES (?, ?, ?) RETURNING id")
                .bind(run)
                .bind(std::process::id())
                .bind(version)
                .fetch_one(write.connection())
                .await
                .map_err(self.error())?;
        write.commit().await?;
        Ok(id)
    }

    /// Notes that it ended, and why (`done`, `interrupted`, ...).
    pub async fn end_session(&self, session: SessionId, reason: &str) -> Result<(), DbError> {
        let mut write = self.begin().await?;
        sqlx::query("INSERT INTO session_end (session_id, reason) VALUES (?, ?)")
            .bind(session)
            .bind(reason)
            .execute(write.connection())
            .await
            .map_err(self.stored_twice(|| format!("the end of session {session}")))?;
        write.commit().await
    }

    /// The run that a process works on, or worked on, if it began to since then (milliseconds since the Unix epoch).
    pub async fn run_of_process(&self, pid: u32, since: i64) -> Result<Option<RunId>, DbError> {
        sqlx::query_scalar(
            "SELECT run_id FROM session WHERE pid = ? AND started_at >= ? ORDER BY id DESC LIMIT 1",
        )
        .bind(pid)
        .bind(since)
        .fetch_optional(self.readers())
        .await
        .map_err(self.error())
    }

    /// A run's sessions, oldest first.
    pub async fn sessions(&self, run: RunId) -> Result<Vec<Session>, DbError> {
        sqlx::query_as(
            "SELECT session.id, started_at, pid, version, ended_at, reason
             FROM session LEFT JOIN session_end ON session_id = session.id
             WHERE run_id = ? ORDER BY session.id",
        )
        .bind(run)
        .fetch_all(self.readers())
        .await
        .map_err(self.error())
    }
}
