//! Who follows the database sees everything that is stored, once, in order, from wherever it left off.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{comparison, evaluation, failed, measured, new_proposal, new_run};
use program_db::{Change, FeedPlace, NewComparison, ProgramDb, What};
use search::{Outcome, ProgramId, Verdict};

async fn database() -> (tempfile::TempDir, ProgramDb) {
    let folder = tempfile::tempdir().unwrap();
    let db = ProgramDb::open(folder.path().join("evolve.db")).await.unwrap();
    (folder, db)
}

/// Everything behind a place, read in steps of `step`.
async fn follow(db: &ProgramDb, mut place: FeedPlace, step: u32) -> Vec<Change> {
    let mut all = Vec::new();
    loop {
        let (changes, next) = db.feed(place, step).await.unwrap();
        if next == place {
            return all;
        }
        place = next;
        all.extend(changes);
    }
}

fn names(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| match &change.what {
            What::Proposed { number, .. } | What::Finished { number, .. } => {
                format!("{} {number}", change.what.name())
            }
            what => what.name().to_owned(),
        })
        .collect()
}

#[tokio::test]
async fn everything_is_told_once_in_order_and_from_any_place_on() {
    let (_folder, db) = database().await;
    assert_eq!(db.feed_end().await.unwrap(), FeedPlace::default());
    let run = db.create_run(&new_run()).await.unwrap();
    let session = db.start_session(run, "1").await.unwrap();
    db.store_evaluation(run, ProgramId(0), &evaluation(measured(1.0, Verdict::Inconclusive))).await.unwrap();
    for number in 1..=4 {
        db.store_proposal(run, &new_proposal(number, 0)).await.unwrap();
        db.store_evaluation(run, ProgramId(number), &evaluation(measured(1.5, Verdict::Improved)))
            .await
            .unwrap();
    }
    db.store_proposal(run, &failed(5, 0, Outcome::NoChange)).await.unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let compared = NewComparison { ended_at: now, ..comparison(Vec::new()) };
    db.store_comparison(run, ProgramId(4), "baseline", &compared).await.unwrap();
    db.end_session(session, "all iterations are done").await.unwrap();

    let all = follow(&db, FeedPlace::default(), 1000).await;
    let told = names(&all);
    assert_eq!(told.len(), 1 + 1 + 6 + 6 + 1 + 1, "{told:?}");
    assert_eq!(told[0], "run_created");
    assert_eq!(told.last().unwrap(), "run_ended");
    for number in 0..=5 {
        let at = |name: &str| told.iter().position(|told| *told == format!("{name} {number}")).unwrap();
        assert!(at("proposed") < at("finished"), "{told:?}");
    }
    assert_eq!(all.last().unwrap().place, db.feed_end().await.unwrap());
    // In small steps the same, and from each place on exactly the rest.
    assert_eq!(follow(&db, FeedPlace::default(), 1).await, all);
    assert_eq!(follow(&db, FeedPlace::default(), 3).await, all);
    for (index, change) in all.iter().enumerate() {
        assert_eq!(follow(&db, change.place, 2).await, all[index + 1..]);
    }
    let finished = serde_json::to_value(all.iter().find(|c| c.what.name() == "finished").unwrap()).unwrap();
    assert_eq!(finished["event"], "finished");
    assert_eq!(
        (&finished["run"], &finished["number"], &finished["score"]),
        (&1.into(), &0.into(), &1.0.into())
    );
}

#[tokio::test]
async fn of_two_runs_at_once_the_one_that_began_first_may_end_last() {
    let (_folder, db) = database().await;
    let first = db.create_run(&new_run()).await.unwrap();
    let second = db.create_run(&new_run()).await.unwrap();
    let of_first = db.start_session(first, "1").await.unwrap();
    let of_second = db.start_session(second, "1").await.unwrap();
    db.end_session(of_second, "done").await.unwrap();
    let place = db.feed_end().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    db.end_session(of_first, "done").await.unwrap();
    let rest = follow(&db, place, 10).await;
    assert_eq!(
        rest.iter().map(|change| (change.run, change.what.name())).collect::<Vec<_>>(),
        [(first, "run_ended")]
    );
    assert_eq!(db.run_of_process(std::process::id(), 0).await.unwrap(), Some(second));
    assert_eq!(db.run_of_process(std::process::id(), i64::MAX).await.unwrap(), None);
}
