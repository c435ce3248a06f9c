//! The database itself: opening it, and its connections.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use crate::error::{DbError, classify};
use crate::probe::{self, Found};
use crate::schema;

/// How long a write waits for another program's write to end. Ours take milliseconds; only a shell with an open
/// transaction or a stuck backup holds on for longer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Until opening is tried again, when SQLite didn't wait by itself.
const PAUSE: Duration = Duration::from_millis(20);

/// Readers at once: the command line needs one, a dashboard a few.
const READERS: u32 = 4;

/// Connections are local and cost nothing to keep, and a queue of writes is no reason to give up.
const QUEUE_TIMEOUT: Duration = Duration::from_mins(10);

/// An open database. Cheap to clone.
///
/// Writes go through one connection, so that they queue here rather than collide in SQLite. Each is one transaction,
/// and durable when it is reported: `synchronous=FULL` makes SQLite sync the write-ahead log at each commit (with
/// `NORMAL` a power cut may take the latest commits, and each of them may have cost money), and `fullfsync` makes
/// that hold on macOS too.
#[derive(Debug, Clone)]
pub struct ProgramDb {
    path: Arc<Path>,
    busy_timeout: Duration,
    /// Whether the file lies where nobody can change it; see [`Found::Ours`].
    immutable: bool,
    readers: SqlitePool,
    /// Absent when opened for reading.
    writer: Option<SqlitePool>,
}

impl ProgramDb {
    /// Opens the database for reading and writing, creates it if there is none, and migrates it to the latest schema.
    /// A file that isn't ours is left as it is.
    ///
    /// # Errors
    /// What the file is instead, or why it can't be written.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, DbError> {
        Self::open_waiting(path, BUSY_TIMEOUT).await
    }

    /// Like [`ProgramDb::open`], with another limit on the time to wait for other programs' locks.
    ///
    /// # Errors
    /// As [`ProgramDb::open`].
    pub async fn open_waiting(path: impl AsRef<Path>, busy_timeout: Duration) -> Result<Self, DbError> {
        let path = canonical(path.as_ref())?;
        match probe::look(&path, busy_timeout).await? {
            Found::Nothing | Found::Empty => {}
            Found::Ours { version, .. } => schema::check_writable(&path, version)?,
            Found::Foreign { what } => return Err(DbError::Foreign { path, what }),
        }
        let options = options(&path, busy_timeout)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("fullfsync", "ON")
            .pragma("checkpoint_fullfsync", "ON")
            // Makes INSERT OR REPLACE run the triggers that keep finished rows as they are.
            .pragma("recursive_triggers", "ON");
        let db = Self {
            busy_timeout,
            immutable: false,
            readers: readers(&path, busy_timeout, false),
            writer: Some(pool(1).connect_lazy_with(options)),
            path: path.into(),
        };
        // Of several that turn a new file into one with a write-ahead log, SQLite refuses some without waiting.
        let patience = Instant::now() + busy_timeout;
        loop {
            match schema::migrate(&db).await {
                Err(DbError::Locked { .. }) if Instant::now() < patience => tokio::time::sleep(PAUSE).await,
                result => return result.map(|()| db),
            }
        }
    }

    /// Opens an existing database for reading only. Works beside a running search, and on a read-only file system.
    ///
    /// # Errors
    /// What the file is instead.
    pub async fn open_read_only(path: impl AsRef<Path>) -> Result<Self, DbError> {
        let path = canonical(path.as_ref())?;
        match probe::look(&path, BUSY_TIMEOUT).await? {
            Found::Nothing | Found::Empty => Err(DbError::Missing { path }),
            Found::Foreign { what } => Err(DbError::Foreign { path, what }),
            Found::Ours { version, immutable } => {
                schema::check_readable(&path, version)?;
                let readers = readers(&path, BUSY_TIMEOUT, immutable);
                Ok(Self { path: path.into(), busy_timeout: BUSY_TIMEOUT, immutable, readers, writer: None })
            }
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for what is under way, moves the write-ahead log into the file, and closes it. Without this nothing is
    /// lost either: the next to open the file does the rest.
    pub async fn close(self) {
        self.readers.close().await;
        if let Some(writer) = self.writer {
            writer.close().await;
        }
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    pub(crate) fn busy_timeout(&self) -> Duration {
        self.busy_timeout
    }

    pub(crate) fn is_immutable(&self) -> bool {
        self.immutable
    }

    /// Makes an error that names this database; for `map_err`.
    pub(crate) fn error(&self) -> impl Fn(sqlx::Error) -> DbError + '_ {
        |error| classify(&self.path, self.busy_timeout, error)
    }

    /// The one connection that writes, once it is free.
    pub(crate) async fn writer(&self) -> Result<PoolConnection<Sqlite>, DbError> {
        let Some(writer) = &self.writer else {
            return Err(DbError::ReadOnly { path: self.path.to_path_buf() });
        };
        writer.acquire().await.map_err(self.error())
    }

    /// Begins a transaction on the connection that writes.
    pub(crate) async fn begin(&self) -> Result<Write<'_>, DbError> {
        let connection = self.writer().await?;
        let mut write = Write { db: self, connection, committed: false };
        // A transaction that begins as a reader's can't wait for its turn when it comes to write.
        sqlx::query("BEGIN IMMEDIATE").execute(write.connection()).await.map_err(self.error())?;
        Ok(write)
    }
}

/// An insertion of rows. One text may hold several statements, which take their values in turn: it is sent to SQLite's thread as a
/// whole, and sending takes longer than inserting.
pub(crate) type Insert<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// A transaction under way.
///
/// Not sqlx's: SQLite ends a transaction by itself when the disk is full, which sqlx doesn't notice, and its
/// connection can't begin another. Here a connection whose transaction didn't commit is closed, which undoes the
/// transaction in any case, and the pool opens a new one.
pub(crate) struct Write<'db> {
    db: &'db ProgramDb,
    connection: PoolConnection<Sqlite>,
    committed: bool,
}

impl Write<'_> {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Ends the transaction. What it wrote is durable when this returns.
    pub(crate) async fn commit(mut self) -> Result<(), DbError> {
        sqlx::query("COMMIT").execute(&mut *self.connection).await.map_err(self.db.error())?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if !self.committed {
            self.connection.close_on_drop();
        }
    }
}

/// What all connections have in common.
pub(crate) fn options(path: &Path, busy_timeout: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).busy_timeout(busy_timeout).foreign_keys(true)
}

/// A connection that can't write, whatever it is asked to. `immutable` is for files that nobody can change.
pub(crate) fn read_only(path: &Path, busy_timeout: Duration, immutable: bool) -> SqliteConnectOptions {
    options(path, busy_timeout).read_only(true).immutable(immutable).pragma("query_only", "ON")
}

fn readers(path: &Path, busy_timeout: Duration, immutable: bool) -> SqlitePool {
    pool(READERS).connect_lazy_with(read_only(path, busy_timeout, immutable))
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(QUEUE_TIMEOUT)
}

/// One name for one file, since locks go by name. It also can't be one that SQLite takes for something special, such
/// as `:memory:` or `file:...`.
fn canonical(path: &Path) -> Result<PathBuf, DbError> {
    let failed = |source| DbError::File { path: path.to_path_buf(), source };
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other.map_err(failed),
    }
    let absolute = std::path::absolute(path).map_err(failed)?;
    let (Some(folder), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Err(failed(io::Error::from(io::ErrorKind::InvalidFilename)));
    };
    match folder.canonicalize() {
        Ok(folder) => Ok(folder.join(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(DbError::NoFolder { folder: folder.to_path_buf(), path: path.to_path_buf() })
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use search::Outcome;

    use super::ProgramDb;
    use crate::{DbError, NewProgram, NewProposal, NewRun};

    fn program(length: usize) -> NewProgram {
        NewProgram { code_hash: "hash".to_owned(), source: "x".repeat(length), fingerprint: None }
    }

    #[tokio::test]
    async fn when_sqlite_is_full_the_transaction_is_undone_and_the_next_one_can_begin() {
        let folder = tempfile::tempdir().unwrap();
        let db = ProgramDb::open(folder.path().join("evolve.db")).await.unwrap();
        let run = NewRun {
            title: String::new(),
            problem: "p".to_owned(),
            config: String::new(),
            config_path: String::new(),
            seed: 1,
            lookahead: 1,
            initial: program(1),
        };
        let run = db.create_run(&run).await.unwrap();
        let proposal = |number, change| NewProposal {
            number: search::ProgramId(number),
            island: 0,
            parent: search::ProgramId(0),
            inspirations: Vec::new(),
            proposer: "p".to_owned(),
            operator: String::new(),
            model: None,
            prompt: None,
            reply: None,
            tokens_in: None,
            tokens_out: None,
            tokens_cached: None,
            tokens_reasoning: None,
            tokens_estimated: false,
            cost: None,
            latency: std::time::Duration::ZERO,
            requests: 0,
            repairs: None,
            lesson: None,
            left_out: Vec::new(),
            change,
        };
        let limit = async || {
            // Of this connection only; it goes with the connection when the first transaction fails.
            let mut writer = db.writer().await.unwrap();
            sqlx::query("PRAGMA max_page_count = 1").execute(&mut *writer).await.unwrap();
        };
        for number in 1..=3 {
            limit().await;
            let error = db.store_proposal(run, &proposal(number, Ok(program(1_000_000)))).await.unwrap_err();
            assert!(matches!(error, DbError::DiskFull { .. }), "{error:?}");
            // Nothing of it is there, and the same number can be stored now.
            db.store_proposal(run, &proposal(number, Err(Outcome::NoChange))).await.unwrap();
        }
        assert_eq!(db.replay(run).await.unwrap().collect().await.unwrap().len(), 4);
    }
}
