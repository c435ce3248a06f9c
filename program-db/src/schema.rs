//! Migrations, and the mark by which a database is known as ours.

use std::path::Path;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, SqliteConnection};

use crate::db::ProgramDb;
use crate::error::DbError;

/// `evlv`, in the header of every database of ours.
pub(crate) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"evlv");

/// Everything under `migrations/`, embedded.
static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// The latest schema version.
fn latest() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Whether a database of this version can be read as it is.
pub(crate) fn check_readable(path: &Path, found: i64) -> Result<(), DbError> {
    check_writable(path, found)?;
    let known = latest();
    if found < known { Err(DbError::Older { path: path.to_path_buf(), found, known }) } else { Ok(()) }
}

/// Whether a database of this version can be brought to the latest.
pub(crate) fn check_writable(path: &Path, found: i64) -> Result<(), DbError> {
    let known = latest();
    if found > known { Err(DbError::Newer { path: path.to_path_buf(), found, known }) } else { Ok(()) }
}

/// Brings the database to the latest schema.
pub(crate) async fn migrate(db: &ProgramDb) -> Result<(), DbError> {
    let mut connection = db.writer().await?;
    let result = apply(&mut connection).await;
    if result.is_err() {
        connection.close_on_drop();
    }
    result.map_err(|error| migrate_error(db, error))
}

/// All migrations or none, and one process at a time.
async fn apply(connection: &mut SqliteConnection) -> Result<(), MigrateError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    // Always written, though mostly the same: a file that can't be written, or a full disk, shows here and not
    // after the first reply has been paid for. SQLite has no placeholders in pragmas; this is `APPLICATION_ID`.
    sqlx::query("PRAGMA application_id = 0x65766c76").execute(&mut *transaction).await?;
    MIGRATOR.run_direct(None, &mut *transaction, false).await?;
    transaction.commit().await?;
    Ok(())
}

fn migrate_error(db: &ProgramDb, error: MigrateError) -> DbError {
    let path = db.path().to_path_buf();
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => db.error()(error),
        MigrateError::VersionMissing(found) => DbError::Newer { path, found, known: latest() },
        MigrateError::VersionMismatch(version) => DbError::OtherSchema { path, version },
        other => DbError::Sqlite { path, source: other.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_id_that_is_written_is_the_one_that_is_looked_for() {
        assert_eq!(APPLICATION_ID, 0x6576_6c76);
    }

    #[test]
    fn migrations_are_numbered_without_gaps() {
        let versions: Vec<i64> = MIGRATOR.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..).take(versions.len()).collect::<Vec<i64>>());
    }
}
