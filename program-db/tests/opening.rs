//! What lies at the path is recognised, and left alone if it isn't ours.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{history, new_run};
use program_db::{DbError, ProgramDb};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

/// The message for opening `name`, which must be the same for reading (unless there is nothing), and leave all files
/// as they are.
async fn refusal(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    let before = std::fs::read(&path).ok();
    let message = ProgramDb::open(&path).await.expect_err(name).to_string();
    let reading = ProgramDb::open_read_only(&path).await.expect_err(name).to_string();
    if path.exists() {
        assert_eq!(message, reading);
    }
    assert_eq!(std::fs::read(&path).ok(), before, "{name} was changed");
    message
        .replace(folder.canonicalize().unwrap().to_str().unwrap(), "FOLDER")
        .replace(folder.to_str().unwrap(), "FOLDER")
}

#[tokio::test]
async fn a_new_database_is_created_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evolve.db");
    assert!(matches!(ProgramDb::open_read_only(&path).await, Err(DbError::Missing { .. })));
    let db = ProgramDb::open(&path).await.unwrap();
    let run = history(&db).await;
    let stored = db.replay(run).await.unwrap().collect().await.unwrap();
    db.close().await;
    assert!(!path.with_extension("db-wal").exists(), "closing leaves one file");
    for db in [ProgramDb::open(&path).await.unwrap(), ProgramDb::open_read_only(&path).await.unwrap()] {
        assert_eq!(db.replay(run).await.unwrap().collect().await.unwrap(), stored);
    }
    let mut connection = raw(&path).await;
    let id: i32 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut connection).await.unwrap();
    assert_eq!(id.to_be_bytes(), *b"evlv");
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn an_empty_file_becomes_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evolve.db");
    std::fs::write(&path, "").unwrap();
    assert!(matches!(ProgramDb::open_read_only(&path).await, Err(DbError::Missing { .. })));
    ProgramDb::open(&path).await.unwrap().create_run(&new_run()).await.unwrap();
}

#[tokio::test]
async fn several_may_create_one_database_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let path = folder.path().join(format!("{round}.db"));
        let opening: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                tokio::spawn(async move {
                    ProgramDb::open(path).await.unwrap().create_run(&new_run()).await.unwrap()
                })
            })
            .collect();
        for opened in opening {
            opened.await.unwrap();
        }
        assert_eq!(ProgramDb::open(&path).await.unwrap().runs().await.unwrap().len(), 8);
    }
}

#[tokio::test]
async fn what_is_not_ours_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("notes.txt"), "dear diary, today I evolved\n").unwrap();
    std::fs::write(at("short.txt"), "hi").unwrap();
    std::fs::create_dir(at("runs")).unwrap();
    let mut other = raw(&at("tables.db")).await;
    sqlx::query("CREATE TABLE song (id INTEGER); CREATE TABLE album (id INTEGER)")
        .execute(&mut other)
        .await
        .unwrap();
    other.close().await.unwrap();
    let mut other = raw(&at("application.db")).await;
    sqlx::query("PRAGMA application_id = 252006675; CREATE TABLE t (id)").execute(&mut other).await.unwrap();
    other.close().await.unwrap();

    let folder = folder.path();
    insta::assert_snapshot!(refusal(folder, "notes.txt").await, @"FOLDER/notes.txt is not a database but some other file; name another file with --db");
    insta::assert_snapshot!(refusal(folder, "short.txt").await, @"FOLDER/short.txt is not a database but some other file; name another file with --db");
    insta::assert_snapshot!(refusal(folder, "runs").await, @"FOLDER/runs is not a database but a folder; name another file with --db");
    insta::assert_snapshot!(refusal(folder, "tables.db").await, @"FOLDER/tables.db is a database of another program (it has tables such as song, album); name another file with --db");
    insta::assert_snapshot!(refusal(folder, "application.db").await, @"FOLDER/application.db is a database of another program (its application id is 0xf055113); name another file with --db");
    insta::assert_snapshot!(refusal(folder, "no/such/folder/evolve.db").await, @"FOLDER/no/such/folder/evolve.db can't be created: there is no folder FOLDER/no/such/folder; create it, or name another file with --db");
}

#[tokio::test]
async fn names_that_sqlite_takes_for_something_special_are_plain_files_here() {
    let folder = tempfile::tempdir().unwrap();
    for name in [":memory:", "file:x.db?mode=memory", "a b%20c#?.db", "späße.db"] {
        let path = folder.path().join(name);
        ProgramDb::open(&path).await.unwrap().create_run(&new_run()).await.unwrap();
        assert!(path.exists(), "{name}");
        ProgramDb::open_read_only(&path).await.unwrap().latest_run().await.unwrap();
    }
}

#[tokio::test]
async fn a_database_of_a_newer_evolve_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evolve.db");
    ProgramDb::open(&path).await.unwrap().close().await;
    let mut connection = raw(&path).await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations VALUES (99, 'from the future', CURRENT_TIMESTAMP, TRUE, x'00', 0)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let words = refusal(folder.path(), "evolve.db").await;
    let (before, after) = words.split_once(", this one knows ").unwrap();
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    insta::assert_snapshot!(format!("{before}, this one knows LATEST{after}"), @"FOLDER/evolve.db was written by a newer evolve (its schema is 99, this one knows LATEST); use that evolve, or name another file with --db");
}

#[tokio::test]
async fn a_database_made_with_another_form_of_a_migration_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evolve.db");
    ProgramDb::open(&path).await.unwrap().close().await;
    let mut connection = raw(&path).await;
    sqlx::query("UPDATE _sqlx_migrations SET checksum = x'00'").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let error = ProgramDb::open(&path).await.unwrap_err();
    assert!(matches!(error, DbError::OtherSchema { version: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_database_that_another_program_has_locked_says_so_and_works_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evolve.db");
    let patience = Duration::from_millis(200);
    let db = ProgramDb::open_waiting(&path, patience).await.unwrap();
    let run = db.create_run(&new_run()).await.unwrap();

    let mut other = raw(&path).await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    let error = db.create_run(&new_run()).await.unwrap_err();
    assert!(matches!(error, DbError::Locked { .. }), "{error}");
    let error = ProgramDb::open_waiting(&path, patience).await.unwrap_err().to_string();
    let error = error.replace(folder.path().canonicalize().unwrap().to_str().unwrap(), "FOLDER");
    insta::assert_snapshot!(error, @"FOLDER/evolve.db is locked by another program (waited 0.2 s); close what has it open for writing, say a sqlite3 shell with an open transaction, and try again");
    // Readers aren't held up.
    assert_eq!(db.run(run).await.unwrap().id, run);

    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    db.create_run(&new_run()).await.unwrap();
    assert_eq!(db.runs().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_damaged_database_is_an_error_not_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evolve.db");
    let db = ProgramDb::open(&path).await.unwrap();
    let run = history(&db).await;
    db.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[4096..length].fill(0xab);
    std::fs::write(&path, &bytes).unwrap();
    let opened = match ProgramDb::open_read_only(&path).await {
        Ok(db) => db.replay(run).await.map(|_| ()),
        Err(error) => Err(error),
    };
    let error = opened.unwrap_err();
    assert!(matches!(error, DbError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn opened_for_reading_nothing_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evolve.db");
    ProgramDb::open(&path).await.unwrap().close().await;
    let db = ProgramDb::open_read_only(&path).await.unwrap();
    assert!(matches!(db.create_run(&new_run()).await, Err(DbError::ReadOnly { .. })));
}

#[tokio::test]
async fn a_reader_sees_what_a_running_search_stores() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evolve.db");
    let db = ProgramDb::open(&path).await.unwrap();
    let reader = ProgramDb::open_read_only(&path).await.unwrap();
    let run = history(&db).await;
    assert_eq!(reader.replay(run).await.unwrap().collect().await.unwrap().len(), 7);
}

#[cfg(unix)]
#[tokio::test]
async fn a_database_has_one_lock_whatever_name_it_is_opened_by() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evolve.db");
    let run = ProgramDb::open(&path).await.unwrap().create_run(&new_run()).await.unwrap();
    std::os::unix::fs::symlink(&path, folder.path().join("link.db")).unwrap();
    let one = ProgramDb::open(&path).await.unwrap();
    let two = ProgramDb::open(folder.path().join("link.db")).await.unwrap();
    let lock = one.lock_run(run).unwrap();
    assert!(matches!(two.lock_run(run), Err(DbError::RunBusy { .. })));
    drop(lock);
    drop(two.lock_run(run).unwrap());
}

/// A database as an older version of the schema left it, with one evaluation of one trial in it.
async fn older_version(folder: &Path, files: &[&str]) -> std::path::PathBuf {
    let migrations = folder.join("migrations");
    std::fs::create_dir(&migrations).unwrap();
    for file in files {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(file);
        std::fs::copy(source, migrations.join(file)).unwrap();
    }
    let path = folder.join("old.db");
    let mut connection = raw(&path).await;
    sqlx::migrate::Migrator::new(migrations)
        .await
        .unwrap()
        .run_direct(None, &mut connection, false)
        .await
        .unwrap();
    for statement in [
        "PRAGMA application_id = 0x65766c76",
        "INSERT INTO run (title, problem, seed, lookahead, config, config_path) VALUES ('t', 'p', 1, 1, '', '')",
        "INSERT INTO proposal (run_id, number, island, proposer, operator, latency_ms, requests, inspirations)
         VALUES (1, 0, 0, 'user', 'initial', 0, 0, '[]')",
        "INSERT INTO program (run_id, number, generation, code_hash, source) VALUES (1, 0, 0, 'h', 'x')",
        "INSERT INTO evaluation (run_id, number, started_at, ended_at, evaluator, protocol, parameters)
         VALUES (1, 0, 1, 2, '0', 'fixed', '{}')",
        "INSERT INTO trial (evaluation_id, idx, stage, arm, seed, started_at, ended_at, exit, tokens_per_second, metrics)
         VALUES (1, 0, 'fixed', 'baseline', 42, 1, 2, 'ok', 1000, '{}')",
        "INSERT INTO outcome (run_id, number, evaluation_id, message, outcome)
         VALUES (1, 0, 1, '', '{\"kind\":\"rejected\",\"reason\":\"\"}')",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    path
}

#[tokio::test]
async fn evaluations_from_before_the_sandbox_count_as_made_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = older_version(folder.path(), &["0001_history.sql"]).await;
    let db = ProgramDb::open(&path).await.unwrap();
    assert_eq!(db.sandboxes(None).await.unwrap(), [("none".to_owned(), 1)].into());
    let run = history(&db).await;
    let counts = db.sandboxes(Some(run)).await.unwrap();
    assert!(counts.contains_key("full") && !counts.contains_key("none"), "{counts:?}");
}

#[tokio::test]
async fn evaluations_from_before_the_decisions_are_read_as_they_were_and_gain_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = older_version(folder.path(), &["0001_history.sql", "0002_sandbox.sql"]).await;
    let too_old = ProgramDb::open_read_only(&path).await.unwrap_err();
    assert!(matches!(too_old, DbError::Older { found: 2, known: 3.., .. }), "{too_old:?}");
    let db = ProgramDb::open(&path).await.unwrap();
    let zero = search::ProgramId(0);
    let trials = db.trials(1, zero).await.unwrap();
    assert_eq!((trials.len(), trials[0].seed, trials[0].tokens_per_second), (1, 42, Some(1000.0)));
    assert_eq!((trials[0].number, trials[0].pair, trials[0].on_battery), (None, None, None));
    assert!(trials[0].references.is_empty());
    assert_eq!(db.evaluation(1, zero).await.unwrap().unwrap().judgement, None);
    assert_eq!(db.decisions(1, zero).await.unwrap(), []);
    assert_eq!(db.comparisons(1, zero).await.unwrap(), []);
    // No protocol with a memory was told of them.
    assert_eq!(db.measured_history(1).await.unwrap(), []);
    assert_eq!(db.next_trial_number(1).await.unwrap(), 0);
    // But the baseline's speed is known.
    assert_eq!(db.reference_trace(1).await.unwrap().len(), 1);
    assert_eq!(db.summary(1).await.unwrap().evaluations, 1);
}

#[tokio::test]
async fn a_change_by_another_connection_is_noticed_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evolve.db");
    let writer = ProgramDb::open(&path).await.unwrap();
    writer.create_run(&new_run()).await.unwrap();
    let reader = ProgramDb::open_read_only(&path).await.unwrap();
    let mut changes = reader.changes().await.unwrap();
    assert!(changes.look().await.unwrap(), "at first everything is new");
    assert!(!changes.look().await.unwrap());
    writer.store_proposal(1, &common::new_proposal(1, 0)).await.unwrap();
    assert!(changes.look().await.unwrap());
    assert!(!changes.look().await.unwrap());
}
