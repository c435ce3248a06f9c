//! What a file is, found out without changing it.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use crate::db::read_only;
use crate::error::{DbError, classify, sqlite_code};
use crate::schema::APPLICATION_ID;

/// The first bytes of every SQLite database.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// What lies at a path.
#[derive(Debug)]
pub(crate) enum Found {
    /// No file.
    Nothing,
    /// A file without content, or a database without tables.
    Empty,
    /// Our database.
    Ours {
        /// The latest migration that was applied.
        version: i64,
        /// Whether it lies where SQLite can't make the files that it shares among connections, and nobody else is
        /// at it: then it can be read only as a file that doesn't change.
        immutable: bool,
    },
    /// A SQLite database of somebody else.
    Foreign {
        /// What shows it.
        what: String,
    },
}

/// Looks at the file.
pub(crate) async fn look(path: &Path, busy_timeout: Duration) -> Result<Found, DbError> {
    match first_bytes(path)? {
        None => return Ok(Found::Nothing),
        // SQLite has a database with nothing but a write-ahead log start like this.
        Some(bytes) if bytes.is_empty() => {}
        Some(bytes) if bytes == MAGIC => {}
        Some(_) => {
            return Err(DbError::NotADatabase { path: path.to_path_buf(), what: "some other file" });
        }
    }
    match look_inside(path, busy_timeout, false).await {
        // A folder that can't be written has no place for the shared memory of a write-ahead log. Without a log
        // that's no loss.
        Err(error) if cannot_open(&error) && !has_log(path) => look_inside(path, busy_timeout, true).await,
        other => other,
    }
    .map_err(|error| classify(path, busy_timeout, error))
}

/// None if there is no file; fewer than 16 bytes if it is that short.
fn first_bytes(path: &Path) -> Result<Option<Vec<u8>>, DbError> {
    let cant_open =
        |error: io::Error| DbError::CantOpen { path: path.to_path_buf(), reason: error.to_string() };
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(cant_open)?,
    };
    if file.metadata().map_err(cant_open)?.is_dir() {
        return Err(DbError::NotADatabase { path: path.to_path_buf(), what: "a folder" });
    }
    let mut bytes = Vec::with_capacity(MAGIC.len());
    file.take(MAGIC.len() as u64).read_to_end(&mut bytes).map_err(cant_open)?;
    Ok(Some(bytes))
}

async fn look_inside(path: &Path, busy_timeout: Duration, immutable: bool) -> Result<Found, sqlx::Error> {
    let mut connection = read_only(path, busy_timeout, immutable).connect().await?;
    // In one transaction: somebody may be creating it, and a file without our mark but with tables is somebody else's.
    let mut reading = connection.begin().await?;
    let found = recognise(&mut reading, immutable).await?;
    reading.rollback().await?;
    connection.close().await?;
    Ok(found)
}

async fn recognise(connection: &mut SqliteConnection, immutable: bool) -> Result<Found, sqlx::Error> {
    let id: i32 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await?;
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid LIMIT 4")
            .fetch_all(&mut *connection)
            .await?;
    if id == APPLICATION_ID {
        let version = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
            .fetch_one(connection)
            .await?;
        return Ok(Found::Ours { version, immutable });
    }
    if id != 0 {
        return Ok(Found::Foreign { what: format!("its application id is {id:#x}") });
    }
    if tables.is_empty() {
        return Ok(Found::Empty);
    }
    Ok(Found::Foreign { what: format!("it has tables such as {}", tables.join(", ")) })
}

fn cannot_open(error: &sqlx::Error) -> bool {
    const CANTOPEN: i32 = 14;
    const READONLY: i32 = 8;
    sqlite_code(error).is_some_and(|code| matches!(code & 0xff, CANTOPEN | READONLY))
}

fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).is_ok_and(|log| log.len() > 0)
}
