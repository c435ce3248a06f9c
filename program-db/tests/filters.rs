//! The filter language: what it finds, and what it says of a wrong expression.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::history;
use program_db::filter::{COLUMNS, ColumnKind};
use program_db::{DbError, Filter, ProgramDb, RunId, Table, Value};

async fn database() -> (tempfile::TempDir, ProgramDb, RunId) {
    let folder = tempfile::tempdir().unwrap();
    let db = ProgramDb::open(folder.path().join("evolve.db")).await.unwrap();
    let run = history(&db).await;
    (folder, db, run)
}

fn numbers(table: &Table) -> Vec<i64> {
    let column = table.columns.iter().position(|name| name == "number").unwrap();
    let number = |row: &Vec<Value>| match row[column] {
        Value::Integer(number) => number,
        ref other => panic!("{other:?} is not a number"),
    };
    table.rows.iter().map(number).collect()
}

#[tokio::test]
async fn expressions_find_what_they_say() {
    let (_folder, db, run) = database().await;
    for (expression, expected) in [
        ("", &[0, 1, 2, 3, 4, 5, 6][..]),
        ("score > 1.1", &[1, 5]),
        ("score >= 1.25 and island = 1", &[1, 5]),
        ("score > 110%", &[1, 5]),
        ("score > 110 %", &[1, 5]),
        ("score < 1.3", &[0, 1]),
        ("score <= 1.3", &[0, 1, 5]),
        ("score <> 1.3", &[0, 1, 2, 3, 4, 6]),
        ("score == 1.3", &[5]),
        ("not score > 1.1", &[0, 2, 3, 4, 6]),
        ("not (score > 1.1 or kind = no_change)", &[0, 3, 4, 6]),
        ("not not score > 1.1", &[1, 5]),
        ("kind = measured", &[0, 1, 5]),
        ("kind = 'measured' and verdict != \"improved\"", &[0, 5]),
        ("verdict != improved", &[0, 2, 3, 4, 5, 6]),
        ("kind is null", &[6]),
        ("KIND IS NOT NULL AND Score Is Null", &[2, 3, 4]),
        ("parent = 1 or parent is null", &[0, 3, 5]),
        ("number = 1 or number = 2 and island = 9", &[1]),
        ("(number = 1 or number = 2) and island = 9", &[]),
        ("operator ~ 'A + B'", &[4]),
        ("operator ~ rules", &[4]),
        ("operator ~ '%'", &[]),
        ("operator ~ '_'", &[]),
        ("model !~ small", &[0, 4]),
        ("source ~ 'program_3('", &[3]),
        ("message ~ 'timed out'", &[3]),
        ("reply ~ replace", &[1, 2, 3, 5, 6]),
        ("peak_memory_bytes > 100MB", &[3]),
        ("peak_memory_bytes > 100 mb", &[3]),
        ("peak_memory_bytes = 1000001 B", &[0, 1, 5]),
        ("tokens_in >= 1k", &[1, 2, 3, 5, 6]),
        ("latency_seconds = 1500 ms", &[1, 2, 3, 4, 5, 6]),
        ("evaluation_seconds < 0.5 min", &[0, 1, 3, 5]),
        ("cost > .1 and cost < 1e2", &[1, 2, 3, 5, 6]),
        ("island = -1", &[]),
        ("mlx = 0.32.2", &[0, 1, 3, 5]),
        ("created_at > '2020' and created_at < '2999-12-31'", &[0, 1, 2, 3, 4, 5, 6]),
        ("created_at > 2020-01-31 and created_at < 2999", &[0, 1, 2, 3, 4, 5, 6]),
        ("metrics.accuracy > 0.6", &[1, 5]),
        ("metrics.\"accuracy\" > 0.6", &[1, 5]),
        ("metrics.nothing is null", &[0, 1, 2, 3, 4, 5, 6]),
        ("generation = 2 order by number desc", &[5, 3]),
        ("order by score desc", &[5, 1, 0, 2, 3, 4, 6]),
        ("order by score", &[0, 1, 5, 2, 3, 4, 6]),
        ("order by island desc, score desc", &[5, 1, 3, 0, 2, 4, 6]),
        ("kind = measured order by metrics.accuracy desc limit 2", &[5, 1]),
        ("limit 3", &[0, 1, 2]),
        ("trials = 2", &[0, 1, 3, 5]),
    ] {
        let table = db.query(Some(run), expression).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(numbers(&table), expected, "{expression}");
        assert!(table.rows.iter().all(|row| row.len() == table.columns.len()));
    }
}

#[tokio::test]
async fn text_is_never_read_as_sql() {
    let (_folder, db, run) = database().await;
    for expression in [
        "kind = 'x'' OR 1=1 --'",
        "kind = \"x' OR 1=1 --\"",
        "metrics.\"x') OR 1=1 --\" > 0",
        "model ~ ''' OR 1=1 --'",
    ] {
        assert_eq!(numbers(&db.query(Some(run), expression).await.unwrap()), [0_i64; 0], "{expression}");
    }
}

#[tokio::test]
async fn the_answer_has_the_usual_columns_and_those_that_the_filter_names() {
    let (_folder, db, run) = database().await;
    let usual = db.query(Some(run), "").await.unwrap().columns;
    insta::assert_snapshot!(usual.join(" "), @"number island parent generation kind score verdict proposer operator model tokens_per_second peak_memory_bytes created_at");
    let more = db
        .query(None, "cost > 0 and metrics.accuracy > 0 and source ~ fn order by device")
        .await
        .unwrap()
        .columns;
    insta::assert_snapshot!(more.join(" "), @"run number island parent generation kind score verdict proposer operator model tokens_per_second peak_memory_bytes cost device created_at metrics.accuracy");
}

#[tokio::test]
async fn without_a_run_all_runs_are_searched() {
    let (_folder, db, _run) = database().await;
    let second = history(&db).await;
    assert_eq!(db.query(None, "score > 1.1").await.unwrap().rows.len(), 4);
    assert_eq!(db.query(None, &format!("score > 1.1 and run = {second}")).await.unwrap().rows.len(), 2);
    assert!(matches!(db.query(Some(9), "").await, Err(DbError::NoSuchRun { run: 9, .. })));
}

#[tokio::test]
async fn every_column_of_the_language_is_one_of_the_view() {
    let (_folder, db, run) = database().await;
    let view = db.sql("SELECT name FROM pragma_table_info('proposals')").await.unwrap();
    let mut view: Vec<String> = view
        .rows
        .into_iter()
        .map(|row| match &row[0] {
            Value::Text(name) => name.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    // Asked about by `metrics.NAME`.
    view.retain(|name| name != "metrics");
    let columns: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
    assert_eq!(view, columns);
    for column in COLUMNS {
        let value = match column.kind {
            ColumnKind::Number | ColumnKind::Bytes | ColumnKind::Seconds => "1",
            _ => "a",
        };
        for expression in [format!("{} = {value}", column.name), format!("order by {} desc", column.name)] {
            db.query(Some(run), &expression).await.unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

#[test]
fn a_wrong_expression_is_shown_with_its_place_and_a_hint() {
    let deep = format!("{}score > 1", "(".repeat(200));
    let errors: Vec<String> = [
        "scor > 1",
        "score > 1 and tokens_per_secnd > 5",
        "fitness_xyz > 1",
        "score >",
        "score > fast",
        "score 1.1",
        "score = 'high'",
        "score > 5 MB",
        "score > 5MB",
        "peak_memory_bytes > 5 s",
        "peak_memory_bytes > 50%",
        "score ~ 1",
        "kind = null",
        "kind is 5",
        "(score > 1",
        "score > 1)",
        "score > 1 or",
        "score > 1 score < 2",
        "kind = 'measured",
        "score > 1 && island = 2",
        "score > 1.1.1",
        "order score",
        "order by",
        "limit none",
        "limit 0",
        "limit 1.5",
        "created_at > 2026-01-31T10:00",
        "metrics. > 1",
        "metrics.\"a\"\"b\" > 1",
        "1 < score",
        "'score' > 1",
        "model = späß and scöre > 1",
        "score > 1;drop table run",
        &deep,
    ]
    .iter()
    .map(|expression| Filter::parse(expression).expect_err(expression).to_string())
    .map(|error| error.replace(&"(".repeat(190), "(...").replace(&" ".repeat(90), " ..."))
    .collect();
    insta::assert_snapshot!(errors.join("\n\n"));
}

#[test]
fn any_text_is_either_a_filter_or_an_error() {
    let pieces = [
        "score", ">", "1", "and", "(", ")", "'", "\"", "é", "not", "is", "null", "~", "-", ".", "1e", "%",
        "limit", "order", "by", ",", " ",
    ];
    let mut state = 7_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
        }
        if let Err(error) = Filter::parse(&text) {
            assert!(error.position().end <= text.chars().count() && !error.to_string().is_empty());
        }
    }
}
