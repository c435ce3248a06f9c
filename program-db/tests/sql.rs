//! SQL of the user: it reads, and that is all.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::history;
use program_db::{DbError, ProgramDb, SqlLimits, Value};

async fn database() -> (tempfile::TempDir, ProgramDb) {
    let folder = tempfile::tempdir().unwrap();
    let db = ProgramDb::open(folder.path().join("evolve.db")).await.unwrap();
    history(&db).await;
    (folder, db)
}

#[tokio::test]
async fn values_come_as_what_they_are() {
    let (_folder, db) = database().await;
    let table = db
        .sql("SELECT 1 AS i, 1.5 AS r, 'é' AS t, x'00ff' AS b, NULL AS n, CAST(x'ff' AS TEXT) AS bad")
        .await
        .unwrap();
    assert_eq!(table.columns, ["i", "r", "t", "b", "n", "bad"]);
    assert_eq!(
        table.rows,
        [[
            Value::Integer(1),
            Value::Real(1.5),
            Value::Text("é".to_owned()),
            Value::Blob(vec![0, 255]),
            Value::Null,
            Value::Blob(vec![255]),
        ]]
    );
    assert_eq!(serde_json::to_string(&table.rows).unwrap(), "[[1,1.5,\"é\",[0,255],null,[255]]]");
}

#[tokio::test]
async fn tables_and_views_can_be_asked() {
    let (_folder, db) = database().await;
    let table =
        db.sql("-- the best\nSELECT number, score FROM programs WHERE verdict = 'improved';").await.unwrap();
    assert_eq!(table.rows, [[Value::Integer(1), Value::Real(1.25)]]);
    let table = db.sql("SELECT arm, count(*) FROM trial GROUP BY arm ORDER BY arm").await.unwrap();
    assert_eq!(table.rows.len(), 2);
    let table = db.sql("WITH n AS (SELECT 1 AS one) SELECT * FROM n WHERE one = 2").await.unwrap();
    assert_eq!((table.columns, table.rows.len()), (vec!["one".to_owned()], 0), "columns without rows");
    assert!(!db.sql("EXPLAIN QUERY PLAN SELECT * FROM programs").await.unwrap().rows.is_empty());
}

#[tokio::test]
async fn sql_that_could_write_is_refused_and_nothing_changes() {
    let (folder, db) = database().await;
    let before = db.sql("SELECT count(*) FROM outcome").await.unwrap();
    let mut errors = Vec::new();
    for sql in [
        "DELETE FROM outcome",
        "WITH a AS (SELECT 1) DELETE FROM outcome",
        "SELECT 1; DELETE FROM outcome",
        "INSERT INTO run VALUES (9)",
        "CREATE TABLE mine (id)",
        "CREATE TEMP TABLE mine (id)",
        "DROP VIEW programs",
        "ATTACH 'other.db' AS other",
        "VACUUM INTO 'copy.db'",
        "PRAGMA query_only = 0",
        "BEGIN EXCLUSIVE",
        "",
    ] {
        let error = db.sql(sql).await.expect_err(sql);
        assert!(matches!(error, DbError::SqlRefused { .. }), "{sql}: {error:?}");
        errors.push(error.to_string());
    }
    insta::assert_snapshot!(errors.join("\n"));
    assert_eq!(db.sql("SELECT count(*) FROM outcome").await.unwrap(), before);
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(files.iter().all(|name| name.to_str().unwrap().starts_with("evolve.db")), "{files:?}");
}

#[tokio::test]
async fn wrong_sql_is_named() {
    let (_folder, db) = database().await;
    let mut errors = Vec::new();
    for sql in [
        "SELECT scor FROM programs",
        "SELECT * FROM program_s",
        "SELECT FROM",
        "SELECT 'open",
        "SELECT json('{')",
        "SELECT load_extension('x')",
    ] {
        let error = db.sql(sql).await.expect_err(sql);
        assert!(matches!(error, DbError::SqlWrong { .. }), "{sql}: {error:?}");
        errors.push(error.to_string());
    }
    insta::assert_snapshot!(errors.join("\n"));
}

#[tokio::test]
async fn sql_that_never_ends_is_stopped() {
    let (_folder, db) = database().await;
    let limits = SqlLimits { time: Duration::from_millis(300), ..SqlLimits::default() };
    for sql in [
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "SELECT count(*) FROM outcome a, outcome b, outcome c, outcome d, outcome e, outcome f, outcome g, outcome h,
            outcome i, outcome j, outcome k, outcome l, outcome m, outcome n",
    ] {
        let start = Instant::now();
        let error = db.sql_within(sql, limits).await.unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        insta::allow_duplicates! {
            insta::assert_snapshot!(error, @"the SQL was stopped after 0.3 s; narrow it with WHERE or LIMIT");
        }
    }
}

#[tokio::test]
async fn a_long_answer_is_cut_off_and_says_so() {
    let (_folder, db) = database().await;
    let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    let limits = SqlLimits { rows: 100, ..SqlLimits::default() };
    let table = db.sql_within(endless, limits).await.unwrap();
    assert_eq!((table.rows.len(), table.truncated), (100, true));
    let limits = SqlLimits { bytes: 1_000, ..SqlLimits::default() };
    let table = db.sql_within(endless, limits).await.unwrap();
    assert_eq!((table.rows.len(), table.truncated), (125, true));
    let table = db
        .sql_within("SELECT number FROM proposals", SqlLimits { rows: 7, ..SqlLimits::default() })
        .await
        .unwrap();
    assert_eq!((table.rows.len(), table.truncated), (7, false), "just as many as allowed");
}

#[tokio::test]
async fn values_that_would_fill_the_memory_and_patterns_that_would_take_for_ever_are_refused() {
    let (_folder, db) = database().await;
    let limits = SqlLimits { bytes: 1 << 20, time: Duration::from_millis(300), ..SqlLimits::default() };
    let columns = vec!["1"; 200].join(", ");
    for sql in [
        "SELECT zeroblob(999999999)",
        "SELECT hex(randomblob(900000))",
        "SELECT replace(hex(zeroblob(10000)), '0', hex(zeroblob(10000)))",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000)
         SELECT hex(zeroblob(500)) LIKE group_concat('%a', '') FROM n",
        &format!("SELECT {columns}"),
    ] {
        let start = Instant::now();
        let error = db.sql_within(sql, limits).await.unwrap_err();
        assert!(matches!(error, DbError::SqlWrong { .. }), "{sql}: {error:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_filter_has_the_same_limits() {
    let (_folder, db) = database().await;
    let run = db.latest_run().await.unwrap().id;
    let all = db.query(Some(run), "number >= 0").await.unwrap();
    assert_eq!(db.query_within(Some(run), "number >= 0", SqlLimits::default()).await.unwrap(), all);
    let limits = SqlLimits { rows: 2, ..SqlLimits::default() };
    let table = db.query_within(Some(run), "number >= 0 order by number desc", limits).await.unwrap();
    assert_eq!((table.rows.len(), table.truncated, table.columns), (2, true, all.columns));
    assert!(matches!(db.query_within(Some(99), "", limits).await.unwrap_err(), DbError::NoSuchRun { .. }));
    assert!(matches!(
        db.query_within(Some(run), "nonsense =", limits).await.unwrap_err(),
        DbError::Filter(_)
    ));
}
