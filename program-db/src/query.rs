//! Asking the database: by filter, or by read-only SQL.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use search::ProgramId;
use sqlx::sqlite::{LockedSqliteHandle, SqliteArguments, SqliteRow};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Executor as _, Row as _,
    SqlSafeStr as _, Statement as _, TypeInfo as _, ValueRef as _,
};

use crate::db::{ProgramDb, read_only};
use crate::error::{DbError, sqlite_code};
use crate::filter::{Bind, Filter};
use crate::run::RunId;
use crate::statement;
use crate::table::{Table, Value};

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

/// What one SQL query may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlLimits {
    /// Rows in the answer; what is beyond is cut off, and the answer says so.
    pub rows: usize,
    /// Bytes in the answer; what is beyond is cut off, and the answer says so. A single value of more (than a megabyte, at
    /// least) is an error.
    pub bytes: usize,
    /// Until the query is stopped with an error.
    pub time: Duration,
}

impl Default for SqlLimits {
    fn default() -> Self {
        Self { rows: 10_000, bytes: 64 << 20, time: Duration::from_secs(30) }
    }
}

/// Virtual machine steps between looks at the clock: some tens of microseconds.
const STEPS: i32 = 10_000;

impl ProgramDb {
    /// Finds numbers of one run (or of all runs) by an expression in the language of [`crate::filter`].
    ///
    /// # Errors
    /// [`DbError::Filter`] if the expression is wrong, [`DbError::NoSuchRun`].
    pub async fn query(&self, run: Option<RunId>, expression: &str) -> Result<Table, DbError> {
        let filter = Filter::parse(expression)?;
        if let Some(run) = run {
            self.run(run).await?;
        }
        let compiled = filter.compile(run);
        // Safe: it is put together from literals only; see `filter::sql`.
        let query = bound(sqlx::query(AssertSqlSafe(compiled.sql)), compiled.binds);
        let mut rows = query.fetch(self.readers());
        let mut table = Table { columns: compiled.columns, ..Table::default() };
        while let Some(row) = rows.try_next().await.map_err(self.error())? {
            table.rows.push(values(&row));
        }
        Ok(table)
    }

    /// Up to `limit` rows of the view `proposals` with all its columns, in order of numbers, from behind `after` on. For
    /// writing a run out without holding all of it.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`].
    pub async fn proposals(
        &self,
        run: RunId,
        after: Option<ProgramId>,
        limit: u32,
    ) -> Result<Table, DbError> {
        self.run(run).await?;
        let rows =
            sqlx::query("SELECT * FROM proposals WHERE run = ? AND number > ? ORDER BY number LIMIT ?")
                .bind(run)
                .bind(after.map_or(-1, |after| after.0.cast_signed()))
                .bind(limit)
                .fetch_all(self.readers())
                .await
                .map_err(self.error())?;
        let columns =
            rows.first().map(|row| row.columns().iter().map(|column| column.name().to_owned()).collect());
        let rows = rows.iter().map(values).collect();
        Ok(Table { columns: columns.unwrap_or_default(), rows, truncated: false })
    }

    /// Like [`ProgramDb::query`], within limits.
    ///
    /// # Errors
    /// As [`ProgramDb::query`], and [`DbError::SqlTooLong`].
    pub async fn query_within(
        &self,
        run: Option<RunId>,
        expression: &str,
        limits: SqlLimits,
    ) -> Result<Table, DbError> {
        let filter = Filter::parse(expression)?;
        if let Some(run) = run {
            self.run(run).await?;
        }
        let compiled = filter.compile(run);
        let table = self.limited(&compiled.sql, compiled.binds, limits).await?;
        Ok(Table { columns: compiled.columns, ..table })
    }

    /// Answers one SQL query that only reads, within [`SqlLimits::default`].
    ///
    /// # Errors
    /// [`DbError::SqlRefused`] if it is more than one statement or could write, [`DbError::SqlWrong`] if SQLite
    /// doesn't accept it, [`DbError::SqlTooLong`].
    pub async fn sql(&self, sql: &str) -> Result<Table, DbError> {
        self.sql_within(sql, SqlLimits::default()).await
    }

    /// Like [`ProgramDb::sql`], with other limits.
    ///
    /// # Errors
    /// As [`ProgramDb::sql`].
    pub async fn sql_within(&self, sql: &str, limits: SqlLimits) -> Result<Table, DbError> {
        let sql = statement::reading(sql).map_err(|what| DbError::SqlRefused { what })?;
        self.limited(sql, Vec::new(), limits).await
    }

    /// On a connection of its own, closed afterwards: it can't write, and whatever is done to it is gone with it.
    async fn limited(&self, sql: &str, binds: Vec<Bind>, limits: SqlLimits) -> Result<Table, DbError> {
        let mut connection = read_only(self.path(), self.busy_timeout(), self.is_immutable())
            // Rows that wait to be counted take memory too.
            .row_buffer_size(2)
            .connect()
            .await
            .map_err(self.error())?;
        let deadline = Instant::now() + limits.time;
        {
            let mut handle = connection.lock_handle().await.map_err(self.error())?;
            handle.set_progress_handler(STEPS, move || Instant::now() < deadline);
            limit_values(&mut handle, limits.bytes);
        }
        let result = fetch(&mut connection, sql, binds, limits).await;
        // It has nothing to lose; an error here says nothing about the answer.
        connection.close().await.ok();
        result.map_err(|error| self.sql_error(limits, error))
    }

    fn sql_error(&self, limits: SqlLimits, error: sqlx::Error) -> DbError {
        const ERROR: i32 = 1;
        const READONLY: i32 = 8;
        const INTERRUPT: i32 = 9;
        const TOOBIG: i32 = 18;
        const MISMATCH: i32 = 20;
        const RANGE: i32 = 25;
        let reason = error.as_database_error().map(|error| error.message().to_owned()).unwrap_or_default();
        match sqlite_code(&error).map(|code| code & 0xff) {
            Some(INTERRUPT) => DbError::SqlTooLong { limit: limits.time },
            Some(READONLY) => DbError::SqlRefused { what: "this statement writes".to_owned() },
            Some(ERROR | TOOBIG | MISMATCH | RANGE) => DbError::SqlWrong { reason },
            _ => self.error()(error),
        }
    }
}

fn bound(query: Query<'_>, binds: Vec<Bind>) -> Query<'_> {
    binds.into_iter().fold(query, |query, bind| match bind {
        Bind::Integer(integer) => query.bind(integer),
        Bind::Real(real) => query.bind(real),
        Bind::Text(text) => query.bind(text),
    })
}

/// A single value or row may take so many bytes, and a pattern may not make one step run for minutes: the clock is only looked at
/// between steps.
fn limit_values(handle: &mut LockedSqliteHandle<'_>, bytes: usize) {
    const PATTERN: c_int = 1_000;
    const COLUMNS: c_int = 128;
    /// The schema's own texts must fit.
    const LEAST: usize = 1 << 20;
    let bytes = c_int::try_from(bytes.max(LEAST)).unwrap_or(c_int::MAX);
    let limits = [
        (libsqlite3_sys::SQLITE_LIMIT_LENGTH, bytes),
        (libsqlite3_sys::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN),
        (libsqlite3_sys::SQLITE_LIMIT_COLUMN, COLUMNS),
        (libsqlite3_sys::SQLITE_LIMIT_ATTACHED, 0),
    ];
    for (limit, value) in limits {
        #[expect(unsafe_code, reason = "sqlx has no way to set SQLite's limits")]
        // SAFETY: the handle is an open connection that nobody else uses while it is locked.
        unsafe {
            libsqlite3_sys::sqlite3_limit(handle.as_raw_handle().as_ptr(), limit, value);
        }
    }
}

async fn fetch(
    connection: &mut sqlx::SqliteConnection,
    sql: &str,
    binds: Vec<Bind>,
    limits: SqlLimits,
) -> Result<Table, sqlx::Error> {
    // Safe: it is the user's own SQL on a connection that can't do harm, or put together from literals.
    let statement = connection.prepare(AssertSqlSafe(sql).into_sql_str()).await?;
    let columns = statement.columns().iter().map(|column| column.name().to_owned()).collect();
    let mut table = Table { columns, ..Table::default() };
    let mut bytes = 0;
    let mut rows = bound(statement.query(), binds).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let row = values(&row);
        bytes += row.iter().map(Value::size).sum::<usize>();
        if table.rows.len() == limits.rows || bytes > limits.bytes {
            table.truncated = true;
            break;
        }
        table.rows.push(row);
    }
    Ok(table)
}

fn values(row: &SqliteRow) -> Vec<Value> {
    (0..row.len()).map(|index| value(row, index)).collect()
}

/// By what the value is, not by what its column was declared to be.
fn value(row: &SqliteRow, index: usize) -> Value {
    let Ok(raw) = row.try_get_raw(index) else {
        return Value::Null;
    };
    if raw.is_null() {
        return Value::Null;
    }
    let value = match raw.type_info().name() {
        "INTEGER" => row.try_get_unchecked(index).map(Value::Integer),
        "REAL" => row.try_get_unchecked(index).map(Value::Real),
        "TEXT" => row.try_get_unchecked(index).map(Value::Text),
        _ => row.try_get_unchecked(index).map(Value::Blob),
    };
    // Text that isn't UTF-8.
    value.or_else(|_| row.try_get_unchecked(index).map(Value::Blob)).unwrap_or(Value::Null)
}
