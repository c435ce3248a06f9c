//! A full disk is one clear error, and nothing that was reported is lost.
//!
//! On Linux a real small file system, in a mount namespace of its own, which ends with its process; where namespaces
//! aren't allowed that part says so and passes. (That SQLite is full by its own limit is tested in `src/db.rs`.)
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use common::{evaluation, measured, new_proposal, new_run};
use program_db::{DbError, ProgramDb};
use search::{ProgramId, Verdict};

const FOLDER: &str = "PROGRAM_DB_TEST_FOLDER";

fn folder() -> PathBuf {
    std::env::var_os(FOLDER).expect("run by another test").into()
}

/// Runs an ignored test of this file where `setup` has been done to the folder `$1`. False if that isn't allowed here.
fn in_namespace(test: &str, setup: &str, folder: &Path) -> bool {
    let unshare = || {
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        command
    };
    let allowed =
        unshare().arg("mount -t tmpfs none /tmp").output().is_ok_and(|output| output.status.success());
    if !allowed {
        println!("not run: this machine allows no mount namespace");
        return false;
    }
    let script = format!("{setup} && shift && exec \"$@\"");
    let output = unshare()
        .arg(script)
        .arg("sh")
        .arg(folder)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    true
}

#[test]
fn a_full_disk_loses_nothing_and_goes_on_once_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    in_namespace("on_a_small_disk", "mount -t tmpfs -o size=16m none \"$1\"", folder.path());
}

#[tokio::test]
#[ignore = "run on a small file system by a_full_disk_loses_nothing_and_goes_on_once_there_is_space"]
async fn on_a_small_disk() {
    let folder = folder();
    let (path, ballast) = (folder.join("evolve.db"), folder.join("ballast"));
    let fill = || {
        let zeros = vec![0; 4096];
        let mut file = std::fs::File::create(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
    };
    // Nothing can be created: said at once, not after the first paid reply.
    fill();
    let error = ProgramDb::open(&path).await.unwrap_err();
    assert!(matches!(error, DbError::DiskFull { .. }), "{error:?}");
    std::fs::remove_file(&ballast).unwrap();

    let db = ProgramDb::open(&path).await.unwrap();
    let run = db.create_run(&new_run()).await.unwrap();
    // What is left takes the write-ahead log through a whole cycle first.
    std::fs::write(&ballast, vec![0; 8_000_000]).unwrap();
    let reported = RefCell::new((Vec::new(), Vec::new()));
    let store = async |number: u64| {
        let mut proposal = new_proposal(number, 0);
        // The space is soon full of these, in the middle of a transaction and not only at its beginning.
        proposal.reply = Some("x".repeat(20_000));
        db.store_proposal(run, &proposal).await?;
        reported.borrow_mut().0.push(number);
        let outcome = measured(number as f64, Verdict::Improved);
        db.store_evaluation(run, ProgramId(number), &evaluation(outcome)).await?;
        reported.borrow_mut().1.push(number);
        Ok::<(), DbError>(())
    };
    let mut number = 0;
    let error = loop {
        number += 1;
        if let Err(error) = store(number).await {
            break error;
        }
    };
    assert!(matches!(error, DbError::DiskFull { .. }), "{error:?}");
    assert!(error.to_string().contains("free some"), "{error}");
    // Again and again the same error, and reading goes on.
    for attempt in 0..5 {
        let error = store(1_000 + attempt).await.unwrap_err();
        assert!(matches!(error, DbError::DiskFull { .. }), "{error:?}");
    }
    let best = db.summary(run).await.unwrap().best.unwrap().0;
    assert_eq!(Some(&best.0), reported.borrow().1.last());

    std::fs::remove_file(&ballast).unwrap();
    for attempt in 0..5 {
        store(2_000 + attempt).await.unwrap();
    }
    let (proposals, evaluations) = reported.take();
    assert!(evaluations.len() > 100, "{evaluations:?}");
    db.close().await;

    let db = ProgramDb::open(&path).await.unwrap();
    let stored = db.replay(run).await.unwrap().collect().await.unwrap();
    let mut stored_proposals: Vec<u64> = stored.iter().map(|it| it.number.0).collect();
    // The initial program comes with the run.
    stored_proposals.remove(0);
    assert_eq!(stored_proposals, proposals);
    let evaluated: Vec<u64> = stored.iter().filter(|it| it.outcome.is_some()).map(|it| it.number.0).collect();
    assert_eq!(evaluated, evaluations);
    let check = db.sql("SELECT * FROM pragma_integrity_check").await.unwrap();
    assert_eq!(check.rows, [[program_db::Value::Text("ok".to_owned())]]);
}

#[test]
fn a_file_system_without_writing_is_read_and_refuses_to_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evolve.db");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let db = ProgramDb::open(&path).await.unwrap();
        common::history(&db).await;
        db.close().await;
    });
    let setup = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"";
    in_namespace("on_a_disk_without_writing", setup, folder.path());
}

#[tokio::test]
#[ignore = "run on a read-only file system by a_file_system_without_writing_is_read_and_refuses_to_be_written"]
async fn on_a_disk_without_writing() {
    let path = folder().join("evolve.db");
    let error = ProgramDb::open(&path).await.unwrap_err();
    assert!(matches!(error, DbError::ReadOnly { .. } | DbError::CantOpen { .. }), "{error:?}");
    let db = ProgramDb::open_read_only(&path).await.unwrap();
    assert_eq!(db.replay(1).await.unwrap().collect().await.unwrap().len(), 7);
    assert_eq!(db.sql("SELECT count(*) FROM trial").await.unwrap().rows, [[program_db::Value::Integer(8)]]);
    let error = ProgramDb::open(folder().join("new.db")).await.unwrap_err();
    assert!(matches!(error, DbError::ReadOnly { .. } | DbError::CantOpen { .. }), "{error:?}");
}
