//! What the process that works on a run was asked for from outside.

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::session::SessionId;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To stop, and go on later.
    Pause,
    /// To stop for good. (The run can be resumed all the same.)
    Stop,
}

impl Wish {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Stop => "stop",
        }
    }
}

impl ProgramDb {
    /// Notes what the process of a session was asked for.
    pub async fn store_wish(&self, session: SessionId, wish: Wish) -> Result<(), DbError> {
        let mut write = self.begin().await?;
        sqlx::query("INSERT INTO wish (session_id, wish) VALUES (?, ?)")
            .bind(session)
            .bind(wish.as_str())
            .execute(write.connection())
            .await
            .map_err(self.error())?;
        write.commit().await
    }

    /// What the process of a session was asked for last.
    pub async fn wish(&self, session: SessionId) -> Result<Option<Wish>, DbError> {
        let wish: Option<String> =
            sqlx::query_scalar("SELECT wish FROM wish WHERE session_id = ? ORDER BY id DESC LIMIT 1")
                .bind(session)
                .fetch_optional(self.readers())
                .await
                .map_err(self.error())?;
        Ok(wish.map(|wish| if wish == Wish::Stop.as_str() { Wish::Stop } else { Wish::Pause }))
    }
}
