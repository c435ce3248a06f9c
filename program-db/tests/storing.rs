//! What is stored is what is read, and it never changes.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{evaluation, failed, history, measured, new_program, new_proposal, new_run, trial};
use program_db::{Artifact, DbError, NewEvaluation, ProgramDb, Record, Stored, Trial, Value, Wish};
use search::{Outcome, ProgramId, Verdict};
use sqlx::{Connection as _, SqliteConnection};

async fn database() -> (tempfile::TempDir, ProgramDb) {
    let folder = tempfile::tempdir().unwrap();
    let db = ProgramDb::open(folder.path().join("evolve.db")).await.unwrap();
    (folder, db)
}

fn numbers(programs: &[program_db::Program]) -> Vec<u64> {
    programs.iter().map(|program| program.number.0).collect()
}

#[tokio::test]
async fn a_run_is_read_as_it_was_stored_with_its_initial_program() {
    let (_folder, db) = database().await;
    assert!(matches!(db.latest_run().await, Err(DbError::NoRuns { .. })));
    let id = db.create_run(&new_run()).await.unwrap();
    let second = db.create_run(&new_run()).await.unwrap();
    let run = db.run(id).await.unwrap();
    let new = new_run();
    assert_eq!((run.title, run.problem, run.config), (new.title, new.problem, new.config));
    assert_eq!((run.config_path, run.seed, run.lookahead), (new.config_path, new.seed, new.lookahead));
    assert!(run.created_at > 1_700_000_000_000);
    assert_eq!(db.latest_run().await.unwrap().id, second);
    assert_eq!(db.runs().await.unwrap().len(), 2);
    let initial = db.program(id, ProgramId(0)).await.unwrap();
    assert_eq!((initial.source, initial.generation, initial.parent), (new_program(0).source, 0, None));
    assert_eq!(initial.proposer, "initial");
}

#[tokio::test]
async fn a_proposal_is_read_as_it_was_stored() {
    let (_folder, db) = database().await;
    let run = history(&db).await;
    let stored = db.proposal(run, ProgramId(3)).await.unwrap();
    let new = new_proposal(3, 1);
    assert_eq!((stored.number, stored.island, stored.parent), (new.number, new.island, Some(new.parent)));
    assert_eq!(stored.inspirations, new.inspirations);
    assert_eq!((stored.proposer, stored.operator, stored.model), (new.proposer, new.operator, new.model));
    assert_eq!((stored.prompt, stored.reply), (new.prompt, new.reply));
    assert_eq!((stored.tokens_in, stored.tokens_out), (new.tokens_in, new.tokens_out));
    assert_eq!((stored.tokens_cached, stored.tokens_reasoning), (new.tokens_cached, new.tokens_reasoning));
    assert!(!stored.tokens_estimated);
    assert_eq!((stored.cost, stored.latency, stored.requests), (new.cost, new.latency, new.requests));
}

#[tokio::test]
async fn an_evaluation_is_read_as_it_was_stored() {
    let (_folder, db) = database().await;
    let run = history(&db).await;
    let new = evaluation(measured(1.25, Verdict::Improved));
    assert_eq!(db.trials(run, ProgramId(1)).await.unwrap(), new.trials);
    assert_eq!(db.decisions(run, ProgramId(1)).await.unwrap(), new.decisions);
    assert_eq!(db.artifacts(run, ProgramId(1)).await.unwrap(), new.artifacts);
    assert_eq!(db.outcome(run, ProgramId(1)).await.unwrap(), Some(new.outcome));
    let stored = db.evaluation(run, ProgramId(1)).await.unwrap().unwrap();
    assert_eq!(stored.measured_by, new.measured_by);
    assert_eq!((stored.started_at, stored.ended_at), (new.started_at, new.ended_at));
    assert_eq!(stored.judgement, new.judgement);
    // Not evaluated, or not yet.
    for number in [2, 4, 6] {
        assert_eq!(db.evaluation(run, ProgramId(number)).await.unwrap(), None);
        assert_eq!(db.trials(run, ProgramId(number)).await.unwrap(), []);
        assert_eq!(db.decisions(run, ProgramId(number)).await.unwrap(), []);
        assert_eq!(db.artifacts(run, ProgramId(number)).await.unwrap(), []);
    }
    assert_eq!(db.outcome(run, ProgramId(6)).await.unwrap(), None);
}

#[tokio::test]
async fn a_long_artifact_is_stored_compressed_and_read_as_it_was() {
    let (folder, db) = database().await;
    let run = db.create_run(&new_run()).await.unwrap();
    let artifact = |name: &str, content: String| Artifact { name: name.to_owned(), content };
    let artifacts = vec![
        artifact("short", "x".repeat(4096)),
        artifact("long", "Zeile \u{e4}\u{1F40D}\0\n".repeat(70_000)),
        artifact("empty", String::new()),
    ];
    for number in 1..=2 {
        db.store_proposal(run, &new_proposal(number, 0)).await.unwrap();
        let evaluation =
            NewEvaluation { artifacts: artifacts.clone(), ..evaluation(measured(1.5, Verdict::Improved)) };
        db.store_evaluation(run, ProgramId(number), &evaluation).await.unwrap();
    }
    assert_eq!(db.artifacts(run, ProgramId(1)).await.unwrap(), artifacts);
    // With SQL alone there is its beginning; and the file has grown by little.
    let excerpt = db
        .sql("SELECT length(CAST(content AS BLOB)), length(compressed) < 20000 FROM artifact WHERE name = 'long' LIMIT 1");
    let table = excerpt.await.unwrap();
    assert!(matches!(table.rows[0][..], [Value::Integer(500..=1024), Value::Integer(1)]), "{:?}", table.rows);
    let bytes = std::fs::metadata(folder.path().join("evolve.db")).unwrap().len()
        + std::fs::metadata(folder.path().join("evolve.db-wal")).unwrap().len();
    assert!(bytes < 1_500_000, "{bytes} bytes");
}

#[tokio::test]
async fn an_artifact_that_cannot_be_decompressed_is_an_error_that_names_it() {
    let (folder, db) = database().await;
    let run = history(&db).await;
    let mut connection =
        SqliteConnection::connect(folder.path().join("evolve.db").to_str().unwrap()).await.unwrap();
    for sql in ["DROP TRIGGER artifact_update", "UPDATE artifact SET compressed = x'0102' WHERE idx = 1"] {
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
    let error = db.artifacts(run, ProgramId(1)).await.unwrap_err().to_string();
    assert!(error.contains("the artifact `stderr` of program 1 of run 1"), "{error}");
}

#[tokio::test]
async fn floats_come_back_to_the_last_bit() {
    let (_folder, db) = database().await;
    let run = db.create_run(&new_run()).await.unwrap();
    // A parser that is off by one unit in the last place shows within some hundred random numbers.
    let mut bits = 0x3ff0_0000_0000_0001_u64;
    for number in 1..=300 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let score = f64::from_bits((bits >> 12) | 0x3ff0_0000_0000_0000);
        db.store_proposal(run, &new_proposal(number, 0)).await.unwrap();
        let outcome = measured(score, Verdict::Improved);
        db.store_outcome(run, ProgramId(number), &outcome).await.unwrap();
        assert_eq!(db.outcome(run, ProgramId(number)).await.unwrap(), Some(outcome));
    }
}

#[tokio::test]
async fn numbers_that_are_not_finite_never_get_in_unnoticed() {
    let (_folder, db) = database().await;
    let run = db.create_run(&new_run()).await.unwrap();
    // In an outcome it would make the run impossible to resume.
    let drift = Outcome::LossDrift { baseline: 2.0, candidate: f64::NAN, limit: 0.01 };
    let error = db.store_evaluation(run, ProgramId(0), &evaluation(drift)).await.unwrap_err();
    assert!(matches!(error, DbError::NotFinite { .. }), "{error}");
    assert_eq!(db.outcome(run, ProgramId(0)).await.unwrap(), None);
    // In a trial it is an absent measurement: trials diverge.
    let diverged = Trial {
        train_loss: Some(f64::NAN),
        tokens_per_second: Some(f64::INFINITY),
        metrics: [("grad_norm".to_owned(), f64::NAN)].into(),
        ..trial("candidate", 1)
    };
    let outcome = Outcome::Rejected { reason: "diverged".to_owned() };
    let new = NewEvaluation { trials: vec![diverged], ..evaluation(outcome) };
    db.store_evaluation(run, ProgramId(0), &new).await.unwrap();
    let stored = db.trials(run, ProgramId(0)).await.unwrap();
    assert_eq!((stored[0].train_loss, stored[0].tokens_per_second), (None, None));
    assert!(stored[0].metrics.is_empty());
}

#[tokio::test]
async fn replay_gives_everything_in_order_of_numbers_whatever_the_order_of_storing() {
    let (_folder, db) = database().await;
    let run = history(&db).await;
    let other = db.create_run(&new_run()).await.unwrap();
    let stored = db.replay(run).await.unwrap().collect().await.unwrap();
    let short: Vec<(u64, bool, &str)> = stored
        .iter()
        .map(|it| (it.number.0, it.program.is_some(), it.outcome.as_ref().map_or("", Outcome::kind)))
        .collect();
    assert_eq!(
        short,
        [
            (0, true, "measured"),
            (1, true, "measured"),
            (2, false, "no_change"),
            (3, true, "timeout"),
            (4, true, "duplicate"),
            (5, true, "measured"),
            (6, true, ""),
        ]
    );
    let six = &stored[6];
    assert_eq!((six.parent, six.generation), (Some(ProgramId(5)), Some(3)));
    // It is still to be evaluated.
    assert_eq!(six.program.as_ref().unwrap().source.as_ref(), Some(&new_program(6).source));
    assert!(stored[2].program.is_none());
    assert_eq!(db.replay(other).await.unwrap().collect().await.unwrap().len(), 1);
    assert!(matches!(db.replay(99).await.unwrap_err(), DbError::NoSuchRun { run: 99, .. }));
}

#[tokio::test]
async fn replay_of_more_than_one_chunk_misses_and_doubles_nothing() {
    let (_folder, db) = database().await;
    let run = db.create_run(&new_run()).await.unwrap();
    // Numbers 100 to 199 are missing, as after a kill.
    let expected: Vec<u64> = (0..100).chain(200..700).collect();
    for number in expected.iter().skip(1).rev() {
        db.store_proposal(run, &failed(*number, 0, Outcome::NoChange)).await.unwrap();
    }
    let mut replay = db.replay(run).await.unwrap();
    let mut read = Vec::new();
    while let Some(Stored { number, .. }) = replay.next().await.unwrap() {
        read.push(number.0);
    }
    assert_eq!(read, expected);
    assert!(replay.next().await.unwrap().is_none(), "the end stays the end");
}

#[tokio::test]
async fn lineage_children_best_and_incumbent() {
    let (_folder, db) = database().await;
    let run = history(&db).await;
    assert_eq!(numbers(&db.lineage(run, ProgramId(6)).await.unwrap()), [0, 1, 5, 6]);
    assert_eq!(numbers(&db.lineage(run, ProgramId(0)).await.unwrap()), [0]);
    assert_eq!(numbers(&db.children(run, ProgramId(1)).await.unwrap()), [3, 5]);
    assert_eq!(numbers(&db.children(run, ProgramId(6)).await.unwrap()), [0_u64; 0]);
    assert_eq!(numbers(&db.best(run, 10).await.unwrap()), [5, 1, 0]);
    assert_eq!(numbers(&db.best(run, 1).await.unwrap()), [5]);
    // A higher score that may be chance is not the incumbent.
    assert_eq!(db.incumbent(run).await.unwrap().unwrap().number, ProgramId(1));
}

#[tokio::test]
async fn what_is_not_there_is_named_with_what_is() {
    let (folder, db) = database().await;
    let run = history(&db).await;
    let message = |error: DbError| error.to_string().replace(folder.path().to_str().unwrap(), "FOLDER");
    insta::assert_snapshot!(message(db.program(run, ProgramId(77)).await.unwrap_err()), @"run 1 has no program 77; its numbers go up to 6");
    insta::assert_snapshot!(message(db.program(run, ProgramId(2)).await.unwrap_err()), @"proposal 2 of run 1 led to no program: no change to the parent");
    insta::assert_snapshot!(message(db.lineage(run, ProgramId(2)).await.unwrap_err()), @"proposal 2 of run 1 led to no program: no change to the parent");
    insta::assert_snapshot!(message(db.children(run, ProgramId(7)).await.unwrap_err()), @"run 1 has no program 7; its numbers go up to 6");
    insta::assert_snapshot!(message(db.trials(run, ProgramId(7)).await.unwrap_err()), @"run 1 has no program 7; its numbers go up to 6");
    insta::assert_snapshot!(message(db.program(9, ProgramId(0)).await.unwrap_err()), @"there is no run 9 in FOLDER/evolve.db; `evolve runs` lists them");
    insta::assert_snapshot!(message(db.summary(9).await.unwrap_err()), @"there is no run 9 in FOLDER/evolve.db; `evolve runs` lists them");
}

#[tokio::test]
async fn a_summary_counts_every_number_once() {
    let (_folder, db) = database().await;
    let run = history(&db).await;
    let session = db.start_session(run, "0.1.0").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    db.end_session(session, "done").await.unwrap();
    let summary = db.summary(run).await.unwrap();
    assert_eq!((summary.proposals, summary.programs), (6, 6));
    assert_eq!((summary.evaluations, summary.pending), (4, 1));
    let kinds: Vec<(&str, u64)> = summary.outcomes.iter().map(|(kind, n)| (kind.as_str(), *n)).collect();
    assert_eq!(kinds, [("duplicate", 1), ("measured", 3), ("no_change", 1), ("timeout", 1)]);
    assert_eq!(summary.best.map(|(number, score)| (number.0, score.get())), Some((5, 1.3)));
    assert_eq!(summary.incumbent.map(|(number, score)| (number.0, score.get())), Some((1, 1.25)));
    assert_eq!(summary.initial.map(search::Score::get), Some(1.0));
    assert_eq!((summary.tokens_in, summary.tokens_out, summary.cost), (5_000, 1_000, Some(1.25)));
    assert_eq!(summary.sessions, 1);
    assert!(summary.duration.as_millis() >= 30 && summary.duration.as_secs() < 5, "{:?}", summary.duration);
}

#[tokio::test]
async fn a_killed_session_counts_up_to_its_last_row() {
    let (_folder, db) = database().await;
    let run = db.create_run(&new_run()).await.unwrap();
    let pause = || tokio::time::sleep(std::time::Duration::from_millis(60));
    db.start_session(run, "0.1.0").await.unwrap();
    pause().await;
    db.store_proposal(run, &new_proposal(1, 0)).await.unwrap();
    // Nobody ended it; the time until the next one starts doesn't count.
    let before = db.summary(run).await.unwrap().duration;
    pause().await;
    let second = db.start_session(run, "0.1.0").await.unwrap();
    let after = db.summary(run).await.unwrap().duration;
    assert_eq!(before, after);
    assert!(before.as_millis() >= 60 && before.as_secs() < 5, "{before:?}");
    db.end_session(second, "interrupted").await.unwrap();
    let sessions = db.sessions(run).await.unwrap();
    assert_eq!(sessions[0].reason, None);
    assert_eq!(sessions[1].reason.as_deref(), Some("interrupted"));
    assert_eq!(sessions[1].pid, std::process::id());
    assert!(matches!(db.end_session(second, "done").await, Err(DbError::AlreadyStored { .. })));
}

#[tokio::test]
async fn nothing_is_stored_twice() {
    let (_folder, db) = database().await;
    let run = history(&db).await;
    let again = db.store_proposal(run, &new_proposal(3, 0)).await.unwrap_err();
    insta::assert_snapshot!(again, @"proposal 3 of run 1 is in the database already, and finished rows never change");
    let new = evaluation(measured(9.0, Verdict::Improved));
    let again = db.store_evaluation(run, ProgramId(1), &new).await.unwrap_err();
    insta::assert_snapshot!(again, @"the outcome of proposal 1 of run 1 is in the database already, and finished rows never change");
    // And nothing of the second attempt stays.
    assert_eq!(db.trials(run, ProgramId(1)).await.unwrap().len(), 2);
    let evaluations = db.sql("SELECT count(*) FROM evaluation").await.unwrap();
    assert_eq!(evaluations.rows[0][0], program_db::Value::Integer(4));
}

#[tokio::test]
async fn finished_rows_never_change_not_even_by_sql() {
    let (folder, db) = database().await;
    let run = history(&db).await;
    let session = db.start_session(run, "0.1.0").await.unwrap();
    db.end_session(session, "done").await.unwrap();
    db.close().await;
    let mut connection =
        SqliteConnection::connect(folder.path().join("evolve.db").to_str().unwrap()).await.unwrap();
    sqlx::query("PRAGMA recursive_triggers = ON").execute(&mut connection).await.unwrap();
    for sql in [
        "UPDATE run SET seed = 1",
        "DELETE FROM run",
        "UPDATE session SET pid = 1",
        "DELETE FROM session",
        "UPDATE session_end SET reason = ''",
        "DELETE FROM session_end",
        "UPDATE proposal SET reply = ''",
        "DELETE FROM proposal",
        "UPDATE program SET source = ''",
        "DELETE FROM program",
        "UPDATE evaluation SET device = ''",
        "DELETE FROM evaluation",
        "UPDATE trial SET tokens_per_second = 1e9",
        "DELETE FROM trial",
        "UPDATE decision SET log_e = 99",
        "DELETE FROM decision",
        "UPDATE artifact SET content = ''",
        "DELETE FROM artifact",
        "UPDATE outcome SET outcome = json_set(outcome, '$.score', 9)",
        "DELETE FROM outcome",
        "INSERT OR REPLACE INTO outcome (run_id, number, message, outcome) VALUES (1, 1, '', '{\"kind\":\"no_change\"}')",
        "INSERT OR REPLACE INTO program SELECT run_id, number, generation, code_hash, '', fingerprint FROM program",
        "INSERT INTO trial SELECT evaluation_id, 99, stage, arm, seed, started_at, ended_at, wall_seconds, exit,
            1e9, peak_memory_bytes, process_peak_bytes, train_loss, validation_loss, kernel, kernel_layers, metrics,
            message, trial_number, pair, reference_first, refs, load, temperature, frequency, on_battery FROM trial LIMIT 1",
        "INSERT INTO decision SELECT evaluation_id, 99, stage, look, metric, sigma, mean, 99, confirmations, claims, level,
            lower, upper, action, reason, refs FROM decision LIMIT 1",
        "INSERT INTO artifact SELECT evaluation_id, 99, name, content, compressed FROM artifact LIMIT 1",
    ] {
        let error = sqlx::query(sql).execute(&mut connection).await.expect_err(sql);
        assert!(error.to_string().contains("finished rows never change"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn the_schema_refuses_what_makes_no_sense() {
    let (folder, db) = database().await;
    history(&db).await;
    db.close().await;
    let mut connection =
        SqliteConnection::connect(folder.path().join("evolve.db").to_str().unwrap()).await.unwrap();
    for (sql, why) in [
        // An outcome of a proposal that isn't there; a failure with a score; a measurement without; an evaluation
        // of another program.
        (
            "INSERT INTO outcome (run_id, number, message, outcome) VALUES (1, 99, '', '{\"kind\":\"no_change\"}')",
            "FOREIGN KEY",
        ),
        (
            "INSERT INTO outcome (run_id, number, message, outcome) VALUES (1, 6, '', '{\"kind\":\"crash\",\"score\":0}')",
            "CHECK",
        ),
        (
            "INSERT INTO outcome (run_id, number, message, outcome) VALUES (1, 6, '', '{\"kind\":\"measured\",\"score\":null}')",
            "CHECK",
        ),
        ("INSERT INTO outcome (run_id, number, message, outcome) VALUES (1, 6, '', '{}')", "NOT NULL"),
        (
            "INSERT INTO outcome (run_id, number, message, outcome) VALUES (1, 6, '', 'text')",
            "malformed JSON",
        ),
        (
            "INSERT INTO outcome (run_id, number, evaluation_id, message, outcome) VALUES (1, 6, 1, '', '{\"kind\":\"no_change\"}')",
            "constraint",
        ),
        // A comparison with nobody, and an evaluation for search with somebody.
        (
            "INSERT INTO evaluation (run_id, number, started_at, ended_at, evaluator, protocol, parameters, purpose) VALUES (1, 0, 1, 2, '', '', '{}', 'comparison')",
            "CHECK",
        ),
        (
            "INSERT INTO evaluation (run_id, number, started_at, ended_at, evaluator, protocol, parameters, opponent) VALUES (1, 0, 1, 2, '', '', '{}', 'baseline')",
            "CHECK",
        ),
        // A parent from the future, or none.
        (
            "INSERT INTO proposal (run_id, number, island, parent, proposer, operator, latency_ms, requests, inspirations) VALUES (1, 9, 0, 10, 'a', 'b', 0, 0, '[]')",
            "CHECK",
        ),
        (
            "INSERT INTO proposal (run_id, number, island, proposer, operator, latency_ms, requests, inspirations) VALUES (1, 9, 0, 'a', 'b', 0, 0, '[]')",
            "CHECK",
        ),
        // A parent that became no program.
        (
            "INSERT INTO proposal (run_id, number, island, parent, proposer, operator, latency_ms, requests, inspirations) VALUES (1, 9, 0, 2, 'a', 'b', 0, 0, '[]')",
            "FOREIGN KEY",
        ),
        (
            "INSERT INTO program (run_id, number, generation, code_hash, source) VALUES (1, 99, 0, 'a', '')",
            "FOREIGN KEY",
        ),
        (
            "INSERT INTO run (title, problem, seed, lookahead, config, config_path) VALUES ('', 'p', 'not a number', 1, '', '')",
            "cannot store TEXT",
        ),
    ] {
        let error = sqlx::query(sql).execute(&mut connection).await.expect_err(sql);
        assert!(error.to_string().contains(why), "{sql}: {error}");
    }
}

#[tokio::test]
async fn many_tasks_may_store_at_once() {
    let (_folder, db) = database().await;
    let run = db.create_run(&new_run()).await.unwrap();
    let tasks: Vec<_> = (1..=64)
        .map(|number| {
            let db = db.clone();
            tokio::spawn(async move {
                db.store_proposal(run, &new_proposal(number, 0)).await.unwrap();
                let new = evaluation(measured(1.0 + number as f64, Verdict::Improved));
                db.store_evaluation(run, ProgramId(number), &new).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let summary = db.summary(run).await.unwrap();
    assert_eq!((summary.programs, summary.evaluations), (65, 64));
}

#[tokio::test]
async fn a_store_call_that_is_dropped_half_way_leaves_all_or_nothing_and_the_next_one_works() {
    let (_folder, db) = database().await;
    let run = db.create_run(&new_run()).await.unwrap();
    for number in 1..=40 {
        let proposal = new_proposal(number, 0);
        let store = db.store_proposal(run, &proposal);
        let patience = std::time::Duration::from_micros(number * 60);
        let reported = tokio::time::timeout(patience, store).await.is_ok();
        let stored = db.program(run, ProgramId(number)).await;
        assert!(!reported || stored.is_ok(), "{number} was reported and isn't there");
    }
    db.store_proposal(run, &new_proposal(100, 0)).await.unwrap();
    let halves =
        db.sql("SELECT number FROM proposals WHERE code_hash IS NULL AND kind IS NULL").await.unwrap();
    assert_eq!(halves.rows, Vec::<Vec<program_db::Value>>::new());
}

#[tokio::test]
async fn what_is_stored_together_is_all_there_or_nothing_of_it() {
    let (_folder, db) = database().await;
    let run = db.create_run(&new_run()).await.unwrap();
    let proposal = |number| Record::Proposal(Box::new(new_proposal(number, 0)));
    let outcome = |number, outcome| Record::Outcome { number: ProgramId(number), outcome };
    let measure = |number, outcome| Record::Evaluation {
        number: ProgramId(number),
        evaluation: Box::new(evaluation(outcome)),
    };
    db.store(run, &[]).await.unwrap();
    let good = [
        proposal(1),
        proposal(2),
        outcome(2, Outcome::Duplicate { of: ProgramId(1) }),
        measure(1, measured(1.5, Verdict::Improved)),
        measure(0, measured(1.0, Verdict::Inconclusive)),
    ];
    db.store(run, &good).await.unwrap();
    assert_eq!(db.trials(run, ProgramId(1)).await.unwrap().len(), 2);
    assert_eq!(db.outcome(run, ProgramId(2)).await.unwrap(), Some(Outcome::Duplicate { of: ProgramId(1) }));
    let stored = db.replay(run).await.unwrap().collect().await.unwrap();
    assert_eq!(stored.len(), 3);

    // The last of them is there already: so none of them is stored, and the error names that one.
    let bad = [proposal(3), proposal(4), measure(3, measured(2.0, Verdict::Improved)), proposal(2)];
    let error = db.store(run, &bad).await.unwrap_err();
    assert!(matches!(&error, DbError::AlreadyStored { what } if what == "proposal 2 of run 1"), "{error:?}");
    assert_eq!(db.replay(run).await.unwrap().collect().await.unwrap(), stored);
    db.store(run, &bad[..3]).await.unwrap();
}

#[tokio::test]
async fn the_last_wish_of_a_session_counts() {
    let folder = tempfile::tempdir().unwrap();
    let db = ProgramDb::open(folder.path().join("evolve.db")).await.unwrap();
    let run = db.create_run(&new_run()).await.unwrap();
    let (first, second) =
        (db.start_session(run, "1").await.unwrap(), db.start_session(run, "1").await.unwrap());
    assert_eq!(db.wish(first).await.unwrap(), None);
    for wish in [Wish::Pause, Wish::Stop] {
        db.store_wish(first, wish).await.unwrap();
        assert_eq!(db.wish(first).await.unwrap(), Some(wish));
    }
    assert_eq!(db.wish(second).await.unwrap(), None);
    assert!(db.store_wish(99, Wish::Stop).await.is_err(), "no such session");
}

#[tokio::test]
async fn what_lessons_are_drawn_from_are_the_finished_proposals_beside_their_parents() {
    let (_folder, db) = database().await;
    let run = history(&db).await;
    let descents = db.descents(run, 1..6).await.unwrap();
    let numbers: Vec<u64> = descents.iter().map(|descent| descent.number.0).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5], "6 isn't finished, and 0 wasn't asked for");
    for descent in descents {
        let (proposal, number) = (db.proposal(run, descent.number).await.unwrap(), descent.number);
        let parent = proposal.parent.unwrap();
        assert_eq!(descent.operator, proposal.operator);
        assert_eq!(Some(descent.outcome), db.outcome(run, number).await.unwrap());
        assert_eq!(descent.source, db.program(run, number).await.ok().map(|program| program.source));
        assert_eq!(descent.parent_outcome, db.outcome(run, parent).await.unwrap());
        assert_eq!(descent.parent_source, Some(db.program(run, parent).await.unwrap().source));
    }
    assert_eq!(db.descents(run + 1, 0..100).await.unwrap(), []);
}

#[tokio::test]
async fn the_best_below_a_number_is_the_earliest_of_the_best_ones_before_it() {
    let (_folder, db) = database().await;
    let run = db.create_run(&new_run()).await.unwrap();
    let other = db.create_run(&new_run()).await.unwrap();
    let best = async |limit| db.best_below(run, ProgramId(limit)).await.unwrap().map(|best| best.number.0);
    assert_eq!(best(100).await, None);
    for (number, score) in [(0, 1.0), (1, 0.5), (2, 2.0), (3, 2.0), (4, 3.0)] {
        for run in [run, other] {
            if number > 0 {
                db.store_proposal(run, &new_proposal(number, 0)).await.unwrap();
            }
            let score = if run == other { score + 10.0 } else { score };
            let verdict = if number == 3 { Verdict::Improved } else { Verdict::Inconclusive };
            db.store_evaluation(run, ProgramId(number), &evaluation(measured(score, verdict))).await.unwrap();
        }
    }
    assert_eq!([best(0).await, best(1).await, best(2).await], [None, Some(0), Some(0)]);
    assert_eq!([best(3).await, best(4).await, best(5).await], [Some(2), Some(2), Some(4)]);
    assert_eq!(db.incumbent(run).await.unwrap().map(|best| best.number.0), Some(3));
}
