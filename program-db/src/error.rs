//! What can go wrong with the database, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use search::ProgramId;

use crate::filter::FilterError;
use crate::run::RunId;

/// We can't read or write the database. Each message names the place and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// Opened for reading, and there is nothing.
    #[error("there is no database at {}; start a run with `evolve run`, or name another file with --db", path.display())]
    Missing {
        /// The database.
        path: PathBuf,
    },
    /// The file can't be created because its folder doesn't exist.
    #[error("{} can't be created: there is no folder {}; create it, or name another file with --db", path.display(), folder.display())]
    NoFolder {
        /// The database.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// The file (or folder) is something else. Nothing was written to it.
    #[error("{} is not a database but {what}; name another file with --db", path.display())]
    NotADatabase {
        /// The database.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A SQLite database, but not ours. Nothing was written to it.
    #[error("{} is a database of another program ({what}); name another file with --db", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
        /// What shows it: its application id or its tables.
        what: String,
    },
    /// A newer version of evolve has been at it.
    #[error("{} was written by a newer evolve (its schema is {found}, this one knows {known}); use that evolve, or name another file with --db", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The latest schema version known here.
        known: i64,
    },
    /// Opened for reading, but it must be migrated first.
    #[error("{} was written by an older evolve (its schema is {found}, this one reads {known}); `evolve resume` upgrades it", path.display())]
    Older {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The schema version needed.
        known: i64,
    },
    /// A migration that was applied is not the one this program has: somebody changed a file under `migrations/`.
    #[error("{} was made with another form of migration {version}; use the evolve that made it, or name another file with --db", path.display())]
    OtherSchema {
        /// The database.
        path: PathBuf,
        /// The migration.
        version: i64,
    },
    /// Another connection holds it.
    #[error("{} is locked by another program (waited {} s); close what has it open for writing, say a sqlite3 shell with an open transaction, and try again", path.display(), waited.as_secs_f64())]
    Locked {
        /// The database.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// Another process works on this run.
    #[error("run {run} is being worked on by {holder}; wait for its end, or stop it (Ctrl-C there{})", pid.map_or(String::new(), |pid| format!(", or `kill {pid}`")))]
    RunBusy {
        /// The run.
        run: RunId,
        /// Its process id, where its note can be read.
        pid: Option<u32>,
        /// Who, in words.
        holder: String,
    },
    /// No space left. What was reported as stored is safe.
    #[error("no space left for {}; free some and go on with `evolve resume`: everything reported as stored is safe", path.display())]
    DiskFull {
        /// The database.
        path: PathBuf,
    },
    /// The file, its folder or its file system doesn't take writes, or the database was opened for reading.
    #[error("{} can't be written; make the file and its folder writable, or name another file with --db", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// The file, or a file beside it, can't be opened at all.
    #[error("{} can't be opened ({reason}); check the permissions of the file, its folder, and the files ending in -wal and -shm beside it", path.display())]
    CantOpen {
        /// The database.
        path: PathBuf,
        /// SQLite's or the operating system's words.
        reason: String,
    },
    /// The file is damaged.
    #[error("{} is damaged ({reason}); restore a copy, or save what can be read with `sqlite3 {} .recover`", path.display(), path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        reason: String,
    },
    /// The database has no runs yet.
    #[error("{} has no runs yet; start one with `evolve run`", path.display())]
    NoRuns {
        /// The database.
        path: PathBuf,
    },
    /// There is no such run.
    #[error("there is no run {run} in {}; `evolve runs` lists them", path.display())]
    NoSuchRun {
        /// The database.
        path: PathBuf,
        /// The run asked for.
        run: RunId,
    },
    /// There is no such number in the run.
    #[error("run {run} has no program {number}{}", last.map_or(String::new(), |last| format!("; its numbers go up to {last}")))]
    NoSuchProgram {
        /// The run.
        run: RunId,
        /// The number asked for.
        number: ProgramId,
        /// The highest number of the run.
        last: Option<ProgramId>,
    },
    /// The number is that of a proposal that led to no program.
    #[error("proposal {number} of run {run} led to no program: {why}")]
    NoProgram {
        /// The run.
        run: RunId,
        /// The proposal's number.
        number: ProgramId,
        /// Its outcome in words.
        why: String,
    },
    /// It is there already, and finished rows never change.
    #[error("{what} is in the database already, and finished rows never change")]
    AlreadyStored {
        /// What, with run and number.
        what: String,
    },
    /// What was to be stored would not be the same when read back.
    #[error("{what} can't be stored: it holds a number that is not finite; this is a bug, please report it")]
    NotFinite {
        /// What, with run and number.
        what: String,
    },
    /// A stored text is not what this version expects.
    #[error("{what} in {} can't be read ({reason}); use the version of evolve that wrote it", path.display())]
    Unreadable {
        /// The database.
        path: PathBuf,
        /// What, with run and number.
        what: String,
        /// The parser's words.
        reason: String,
    },
    /// The filter expression is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The SQL would do more than read.
    #[error("only reading is allowed here: {what}")]
    SqlRefused {
        /// What was found, and what is allowed.
        what: String,
    },
    /// SQLite doesn't accept the SQL.
    #[error("SQL: {reason}; the tables and views are described in migrations/README.md")]
    SqlWrong {
        /// SQLite's words.
        reason: String,
    },
    /// The SQL ran past its time limit.
    #[error("the SQL was stopped after {} s; narrow it with WHERE or LIMIT", limit.as_secs_f64())]
    SqlTooLong {
        /// The limit.
        limit: Duration,
    },
    /// A file of ours beside the database can't be used.
    #[error("{} can't be used: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
    /// Anything else that SQLite reports.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What happened.
        source: sqlx::Error,
    },
}

/// SQLite's primary result codes, <https://sqlite.org/rescode.html>.
mod code {
    pub(super) const PERM: i32 = 3;
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READONLY: i32 = 8;
    pub(super) const IOERR: i32 = 10;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANTOPEN: i32 = 14;
    pub(super) const NOTADB: i32 = 26;
    /// Extended: the shared memory file beside the database can't grow, which is how a full disk shows when the
    /// database is opened.
    pub(super) const IOERR_SHMSIZE: i32 = IOERR | (19 << 8);
}

/// The extended result code of an error, if SQLite gave one.
pub(crate) fn sqlite_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// Turns what sqlx reports into what a caller can act on.
pub(crate) fn classify(path: &Path, waited: Duration, error: sqlx::Error) -> DbError {
    let path = path.to_path_buf();
    let reason = || error.as_database_error().map_or_else(|| error.to_string(), |e| e.message().to_owned());
    let Some(extended) = sqlite_code(&error) else {
        return match error {
            sqlx::Error::PoolTimedOut => DbError::Locked { path, waited },
            source => DbError::Sqlite { path, source },
        };
    };
    if extended == code::IOERR_SHMSIZE {
        return DbError::DiskFull { path };
    }
    match extended & 0xff {
        code::BUSY | code::LOCKED => DbError::Locked { path, waited },
        code::FULL => DbError::DiskFull { path },
        code::READONLY => DbError::ReadOnly { path },
        code::NOTADB => DbError::NotADatabase { path, what: "some other file" },
        code::CORRUPT => DbError::Corrupt { reason: reason(), path },
        code::PERM | code::CANTOPEN => DbError::CantOpen { reason: reason(), path },
        _ => DbError::Sqlite { path, source: error },
    }
}
