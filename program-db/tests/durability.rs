//! What was reported as stored is there after kill -9, and a run is free again.
//!
//! A process that dies loses nothing that it has handed to the operating system, so this shows that a report comes
//! after the commit and that a commit is whole. That a commit also survives a power cut is `synchronous=FULL`'s part,
//! which no test on one machine can show.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use common::{evaluation, helper, measured, new_proposal, new_run};
use program_db::{DbError, ProgramDb, RunHolder};
use search::{ProgramId, Verdict};

const FILE: &str = "PROGRAM_DB_TEST_FILE";

fn file() -> PathBuf {
    std::env::var_os(FILE).expect("run by another test").into()
}

#[tokio::test]
#[ignore = "run as a process by what_was_reported_as_stored_is_there_after_kill_9"]
async fn a_process_that_stores_and_reports() {
    let db = ProgramDb::open(file()).await.unwrap();
    let _lock = db.lock_run(1).unwrap();
    db.start_session(1, "test").await.unwrap();
    let stored = db.replay(1).await.unwrap().collect().await.unwrap();
    let first = stored.last().unwrap().number.0 + 1;
    for number in first.. {
        db.store_proposal(1, &new_proposal(number, 0)).await.unwrap();
        println!("proposal {number}");
        let outcome = measured(1.0 + number as f64, Verdict::Improved);
        db.store_evaluation(1, ProgramId(number), &evaluation(outcome)).await.unwrap();
        println!("evaluation {number}");
    }
}

/// Kills it after `life`, and gives every number that it reported: as a proposal, as an evaluation.
fn reports(mut child: Child, life: Duration) -> (Vec<u64>, Vec<u64>) {
    let output = BufReader::new(child.stdout.take().unwrap());
    let killer = std::thread::spawn(move || {
        std::thread::sleep(life);
        child.kill().unwrap();
        child.wait().unwrap();
    });
    let (mut proposals, mut evaluations) = (Vec::new(), Vec::new());
    // The last line may be cut short by the kill, in which case it counts for nothing.
    for line in output.split(b'\n').map_while(Result::ok).filter_map(|line| String::from_utf8(line).ok()) {
        if let Some(number) = line.strip_prefix("proposal ") {
            proposals.push(number.parse().unwrap());
        } else if let Some(number) = line.strip_prefix("evaluation ") {
            evaluations.push(number.parse().unwrap());
        }
    }
    killer.join().unwrap();
    (proposals, evaluations)
}

#[tokio::test]
async fn what_was_reported_as_stored_is_there_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evolve.db");
    ProgramDb::open(&path).await.unwrap().create_run(&new_run()).await.unwrap();
    let (mut proposals, mut evaluations) = (Vec::new(), Vec::new());
    let mut kills_with_work = 0;
    for round in 0..12_u64 {
        // From before its first row to some hundred rows, at moments without any order.
        let life =
            Duration::from_micros(20_000 + round * 37_777 % 400_000 + u64::from(std::process::id()) % 997);
        let child = helper("a_process_that_stores_and_reports")
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (new_proposals, new_evaluations) = reports(child, life);
        kills_with_work += usize::from(!new_proposals.is_empty());
        proposals.extend(new_proposals);
        evaluations.extend(new_evaluations);

        let db = ProgramDb::open(&path).await.unwrap();
        let stored = db.replay(1).await.unwrap().collect().await.unwrap();
        for number in &proposals {
            let stored = &stored[*number as usize];
            assert_eq!(stored.number.0, *number, "a number is missing");
            assert!(stored.program.is_some(), "program {number} was reported and is lost");
        }
        for number in &evaluations {
            assert!(stored[*number as usize].outcome.is_some(), "outcome {number} was reported and is lost");
            let parts = (
                db.trials(1, ProgramId(*number)).await.unwrap(),
                db.artifacts(1, ProgramId(*number)).await.unwrap(),
            );
            assert_eq!((parts.0.len(), parts.1.len()), (2, 2), "evaluation {number} is not whole");
        }
        // Whatever was under way is there whole or not at all.
        let evaluated = stored.iter().filter(|it| it.outcome.is_some()).count();
        let count =
            db.sql("SELECT (SELECT count(*) FROM evaluation), (SELECT count(*) FROM trial)").await.unwrap();
        let integers: Vec<_> = count.rows[0].iter().map(|value| format!("{value:?}")).collect();
        assert_eq!(integers, [format!("Integer({evaluated})"), format!("Integer({})", 2 * evaluated)]);
        // And the run is free.
        drop(db.lock_run(1).unwrap());
        db.close().await;
    }
    assert!(
        kills_with_work >= 6,
        "only {kills_with_work} of 12 processes lived long enough to store something"
    );
    let mut unique = proposals.clone();
    unique.dedup();
    assert_eq!(unique, proposals, "a number was stored twice");
}

#[tokio::test]
#[ignore = "run as a process by a_run_is_worked_on_by_one_process_at_a_time"]
async fn a_process_that_holds_a_run() {
    let db = ProgramDb::open(file()).await.unwrap();
    let _lock = db.lock_run(1).unwrap();
    println!("holding");
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn a_run_is_worked_on_by_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evolve.db");
    let db = ProgramDb::open(&path).await.unwrap();
    for _ in 0..2 {
        db.create_run(&new_run()).await.unwrap();
    }
    let mut child =
        helper("a_process_that_holds_a_run").env(FILE, &path).stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap().contains("holding")));

    let error = db.lock_run(1).unwrap_err();
    assert!(
        matches!(error, DbError::RunBusy { run: 1, pid: Some(pid), .. } if pid == child.id()),
        "{error:?}"
    );
    let message = error.to_string().replace(&child.id().to_string(), "PID");
    insta::assert_snapshot!(message, @"run 1 is being worked on by process PID; wait for its end, or stop it (Ctrl-C there, or `kill PID`)");
    assert_eq!(db.run_holder(1).unwrap(), Some(RunHolder { pid: Some(child.id()) }));
    // Another run isn't concerned.
    drop(db.lock_run(2).unwrap());
    assert_eq!(db.run_holder(2).unwrap(), None);
    assert_eq!(db.run_holder(3).unwrap(), None, "nobody ever worked on it");

    child.kill().unwrap();
    child.wait().unwrap();
    let lock = db.lock_run(1).unwrap();
    assert!(matches!(db.lock_run(1), Err(DbError::RunBusy { .. })), "this process counts, too");
    drop(lock);
    drop(db.lock_run(1).unwrap());
}
