//! Asking the database: by filter, or by read-only SQL.

use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use search::ProgramId;
use sqlx::sqlite::SqliteRow;
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

/// What one SQL query may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlLimits {
    /// Rows in the answer; what is beyond is cut off, and the answer says so.
    pub rows: usize,
    /// Bytes in the answer; what is beyond is cut off, and the answer says so.
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
        let mut query = sqlx::query(AssertSqlSafe(compiled.sql));
        for bind in compiled.binds {
            query = match bind {
                Bind::Integer(integer) => query.bind(integer),
                Bind::Real(real) => query.bind(real),
                Bind::Text(text) => query.bind(text),
            };
        }
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
        // A connection of its own, closed afterwards: it can't write, and whatever is done to it is gone with it.
        let mut connection = read_only(self.path(), self.busy_timeout(), self.is_immutable())
            .connect()
            .await
            .map_err(self.error())?;
        let deadline = Instant::now() + limits.time;
        connection
            .lock_handle()
            .await
            .map_err(self.error())?
            .set_progress_handler(STEPS, move || Instant::now() < deadline);
        let result = fetch(&mut connection, sql, limits).await;
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

async fn fetch(
    connection: &mut sqlx::SqliteConnection,
    sql: &str,
    limits: SqlLimits,
) -> Result<Table, sqlx::Error> {
    // Safe: it is the user's own SQL, on a connection that can't do harm.
    let statement = connection.prepare(AssertSqlSafe(sql).into_sql_str()).await?;
    let columns = statement.columns().iter().map(|column| column.name().to_owned()).collect();
    let mut table = Table { columns, ..Table::default() };
    let mut bytes = 0;
    let mut rows = statement.query().fetch(connection);
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
