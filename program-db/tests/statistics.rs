//! What the statistics were told comes back as it was, in the order that a run is taken up in; comparisons stay apart.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{comparison, decision, evaluation, history, measured, new_proposal, new_run, numbered, trial};
use program_db::{DbError, Decision, NewEvaluation, ProgramDb, RunId, Trial, Value};
use search::{Outcome, ProgramId, Verdict};
use sqlx::{Connection as _, SqliteConnection};

async fn database() -> (tempfile::TempDir, ProgramDb) {
    let folder = tempfile::tempdir().unwrap();
    let db = ProgramDb::open(folder.path().join("evolve.db")).await.unwrap();
    (folder, db)
}

async fn store(db: &ProgramDb, run: RunId, number: u64, trials: Vec<Trial>) {
    if number > 0 {
        db.store_proposal(run, &new_proposal(number, 0)).await.unwrap();
    }
    let new = NewEvaluation { trials, ..evaluation(measured(1.0, Verdict::Inconclusive)) };
    db.store_evaluation(run, ProgramId(number), &new).await.unwrap();
}

#[tokio::test]
async fn a_trial_keeps_its_place_in_the_run_and_the_machines_state() {
    let (_folder, db) = database().await;
    let run = db.create_run(&new_run()).await.unwrap();
    let trials = vec![numbered(0, "reference", 0), numbered(1, "candidate", 0), trial("candidate", 7)];
    store(&db, run, 0, trials.clone()).await;
    assert_eq!(db.trials(run, ProgramId(0)).await.unwrap(), trials);
}

#[tokio::test]
async fn measured_history_is_in_the_order_of_measuring_and_without_what_no_protocol_was_told() {
    let (_folder, db) = database().await;
    let run = db.create_run(&new_run()).await.unwrap();
    let other = db.create_run(&new_run()).await.unwrap();
    store(&db, run, 0, vec![numbered(0, "reference", 0)]).await;
    // Not measured in the order of numbers; stored in neither.
    store(&db, run, 2, vec![trial("candidate", 1), numbered(7, "candidate", 0), numbered(8, "candidate", 1)])
        .await;
    store(&db, run, 3, vec![numbered(1, "reference", 0), numbered(2, "candidate", 0)]).await;
    store(&db, run, 1, vec![trial("candidate", 1)]).await;
    store(&db, run, 4, Vec::new()).await;
    store(&db, other, 0, vec![numbered(0, "reference", 0)]).await;
    db.store_comparison(run, ProgramId(3), "baseline", &comparison(vec![numbered(9, "baseline", 0)]))
        .await
        .unwrap();
    let past = db.measured_history(run).await.unwrap();
    let short: Vec<(u64, usize)> = past.iter().map(|past| (past.number.0, past.trials.len())).collect();
    assert_eq!(short, [(0, 1), (3, 2), (2, 3)]);
    assert_eq!(past[2].trials, db.trials(run, ProgramId(2)).await.unwrap());
    assert_eq!(past[2].code_hash, common::new_program(2).code_hash);
    assert_eq!(past[2].judgement, db.evaluation(run, ProgramId(2)).await.unwrap().unwrap().judgement);
    assert!(past[2].judgement.is_some());
    // Numbers of comparisons are taken, too.
    assert_eq!(db.next_trial_number(run).await.unwrap(), 10);
    assert_eq!(db.next_trial_number(other).await.unwrap(), 1);
    assert!(matches!(db.measured_history(99).await.unwrap_err(), DbError::NoSuchRun { run: 99, .. }));
    assert!(matches!(db.next_trial_number(99).await.unwrap_err(), DbError::NoSuchRun { .. }));
}

#[tokio::test]
async fn a_run_without_trials_begins_with_number_zero() {
    let (_folder, db) = database().await;
    let run = db.create_run(&new_run()).await.unwrap();
    assert_eq!(db.next_trial_number(run).await.unwrap(), 0);
    assert_eq!(db.measured_history(run).await.unwrap(), []);
    assert_eq!(db.reference_trace(run).await.unwrap(), []);
}

#[tokio::test]
async fn the_reference_trace_has_its_successful_trials_in_the_order_of_time() {
    let (_folder, db) = database().await;
    let run = db.create_run(&new_run()).await.unwrap();
    let failed = Trial { exit: "crashed".to_owned(), ..numbered(1, "reference", 0) };
    store(&db, run, 1, vec![numbered(5, "reference", 0), numbered(6, "candidate", 0)]).await;
    store(&db, run, 0, vec![numbered(0, "reference", 0), failed, numbered(2, "baseline", 1)]).await;
    db.store_comparison(run, ProgramId(1), "baseline", &comparison(vec![numbered(9, "baseline", 0)]))
        .await
        .unwrap();
    let trace = db.reference_trace(run).await.unwrap();
    let short: Vec<(u64, &str)> = trace.iter().map(|trial| (trial.number.0, trial.arm.as_str())).collect();
    assert_eq!(short, [(0, "reference"), (0, "baseline"), (1, "reference")]);
    let stored = numbered(0, "reference", 0);
    assert_eq!((trace[0].started_at, trace[0].seed), (stored.started_at, stored.seed));
    assert_eq!(trace[0].tokens_per_second, stored.tokens_per_second);
    assert_eq!(trace[0].peak_memory_bytes, stored.peak_memory_bytes);
    assert_eq!((trace[0].load, trace[0].temperature), (stored.load, stored.temperature));
    assert_eq!(trace[0].frequency, stored.frequency);
}

#[tokio::test]
async fn comparisons_are_read_as_they_were_stored_the_latest_first() {
    let (_folder, db) = database().await;
    let run = history(&db).await;
    let first = comparison(vec![numbered(0, "baseline", 0), numbered(1, "candidate", 0)]);
    let second = comparison(vec![numbered(2, "mlx_lm", 0)]);
    db.store_comparison(run, ProgramId(1), "baseline", &first).await.unwrap();
    db.store_comparison(run, ProgramId(1), "mlx_lm", &second).await.unwrap();
    let stored = db.comparisons(run, ProgramId(1)).await.unwrap();
    let opponents: Vec<&str> = stored.iter().map(|comparison| comparison.opponent.as_str()).collect();
    assert_eq!(opponents, ["mlx_lm", "baseline"]);
    assert_eq!(stored[1].trials, first.trials);
    assert_eq!(stored[1].decisions, first.decisions);
    assert_eq!(stored[1].evaluation.measured_by, first.measured_by);
    assert_eq!(stored[1].evaluation.judgement, first.judgement);
    assert_eq!(stored[1].evaluation.ended_at, first.ended_at);
    assert_eq!(db.comparisons(run, ProgramId(0)).await.unwrap(), []);
    assert!(matches!(db.comparisons(run, ProgramId(7)).await, Err(DbError::NoSuchProgram { .. })));
}

#[tokio::test]
async fn a_comparison_changes_nothing_of_the_search() {
    let (_folder, db) = database().await;
    let run = history(&db).await;
    let before = (
        db.summary(run).await.unwrap(),
        db.replay(run).await.unwrap().collect().await.unwrap(),
        db.query(Some(run), "").await.unwrap(),
        db.trials(run, ProgramId(1)).await.unwrap(),
        db.evaluation(run, ProgramId(1)).await.unwrap(),
    );
    db.store_comparison(run, ProgramId(1), "baseline", &comparison(vec![numbered(0, "baseline", 0)]))
        .await
        .unwrap();
    let after = (
        db.summary(run).await.unwrap(),
        db.replay(run).await.unwrap().collect().await.unwrap(),
        db.query(Some(run), "").await.unwrap(),
        db.trials(run, ProgramId(1)).await.unwrap(),
        db.evaluation(run, ProgramId(1)).await.unwrap(),
    );
    assert_eq!(before, after);
}

#[tokio::test]
async fn only_programs_are_compared() {
    let (_folder, db) = database().await;
    let run = history(&db).await;
    let new = comparison(vec![numbered(0, "baseline", 0)]);
    for (run, number) in [(run, 2), (run, 99), (9, 0)] {
        db.store_comparison(run, ProgramId(number), "baseline", &new).await.unwrap_err();
    }
    let left = db.sql("SELECT count(*) FROM trial WHERE trial_number = 0").await.unwrap();
    assert_eq!(left.rows[0][0], Value::Integer(0));
    // The connection is as good as before, and still minds foreign keys.
    db.store_comparison(run, ProgramId(0), "baseline", &new).await.unwrap();
}

#[tokio::test]
async fn a_stored_comparison_never_changes_not_even_by_sql() {
    let (folder, db) = database().await;
    let run = history(&db).await;
    db.store_comparison(run, ProgramId(6), "baseline", &comparison(vec![numbered(0, "baseline", 0)]))
        .await
        .unwrap();
    db.close().await;
    let mut connection =
        SqliteConnection::connect(folder.path().join("evolve.db").to_str().unwrap()).await.unwrap();
    let compared = "(SELECT id FROM evaluation WHERE purpose = 'comparison')";
    for (sql, why) in [
        ("UPDATE evaluation SET opponent = 'mlx_lm' WHERE id = COMPARED", "finished rows never change"),
        ("DELETE FROM evaluation WHERE id = COMPARED", "finished rows never change"),
        ("DELETE FROM trial WHERE evaluation_id = COMPARED", "finished rows never change"),
        (
            "INSERT INTO trial (evaluation_id, idx, stage, arm, seed, started_at, ended_at, exit, metrics)
             SELECT COMPARED, 99, stage, arm, seed, started_at, ended_at, exit, metrics FROM trial LIMIT 1",
            "finished rows never change",
        ),
        (
            "INSERT INTO decision (evaluation_id, idx, stage, look, confirmations, claims, action, reason, refs)
             SELECT COMPARED, 99, stage, look, confirmations, claims, action, reason, refs FROM decision LIMIT 1",
            "finished rows never change",
        ),
        (
            "INSERT INTO artifact (evaluation_id, idx, name, content) VALUES (COMPARED, 0, '', '')",
            "finished rows never change",
        ),
        (
            "INSERT INTO outcome (run_id, number, evaluation_id, message, outcome)
             VALUES (1, 6, COMPARED, '', '{\"kind\":\"no_change\"}')",
            "a comparison leads to no outcome",
        ),
    ] {
        let sql = sql.replace("COMPARED", compared);
        let error = sqlx::query(sqlx::AssertSqlSafe(sql.clone())).execute(&mut connection).await.expect_err(&sql);
        assert!(error.to_string().contains(why), "{sql}: {error}");
    }
}

#[tokio::test]
async fn what_is_not_finite_in_a_decision_is_absent() {
    let (_folder, db) = database().await;
    let run = db.create_run(&new_run()).await.unwrap();
    let odd = Decision {
        metric: None,
        sigma: Some(f64::NAN),
        log_e: Some(f64::NEG_INFINITY),
        upper: Some(f64::INFINITY),
        ..decision("")
    };
    let outcome = Outcome::Rejected { reason: "diverged".to_owned() };
    let new = NewEvaluation { decisions: vec![odd], judgement: None, ..evaluation(outcome) };
    db.store_evaluation(run, ProgramId(0), &new).await.unwrap();
    let stored = db.decisions(run, ProgramId(0)).await.unwrap();
    assert_eq!(stored[0], Decision { metric: None, sigma: None, log_e: None, upper: None, ..decision("") });
}
