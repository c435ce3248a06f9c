//! Noticing that the database has changed, without reading it.

use sqlx::{ConnectOptions as _, SqliteConnection};

use crate::db::{ProgramDb, read_only};
use crate::error::DbError;

/// Notices that somebody, in whatever process, has changed the database.
#[derive(Debug)]
pub struct Changes {
    db: ProgramDb,
    /// One connection for all looks: SQLite's counter means nothing across connections.
    connection: SqliteConnection,
    version: Option<i64>,
}

impl ProgramDb {
    /// Begins to look for changes.
    ///
    /// # Errors
    /// If the database can't be opened once more.
    pub async fn changes(&self) -> Result<Changes, DbError> {
        let options = read_only(self.path(), self.busy_timeout(), self.is_immutable());
        let connection = options.connect().await.map_err(self.error())?;
        Ok(Changes { db: self.clone(), connection, version: None })
    }
}

impl Changes {
    /// Whether anything was committed since the last look; yes at the first. It takes some microseconds.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn look(&mut self) -> Result<bool, DbError> {
        let version: i64 = sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut self.connection)
            .await
            .map_err(self.db.error())?;
        Ok(self.version.replace(version) != Some(version))
    }
}
