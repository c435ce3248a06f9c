//! What pages read of a run: thinned out, page by page, cut down to what fits.
#![allow(missing_docs, clippy::unwrap_used, clippy::float_cmp, reason = "scores are stored as they are")]

mod common;

use program_db::view::{Listing, Order, Place};
use program_db::{ProgramDb, RunId};
use search::{Language, Outcome, ProgramId, Verdict};

/// 0 scores 1.0; odd numbers are children of 0, even ones of the number before; every fifth fails, the others score a little more
/// each, but for 7, which is far better than what follows.
async fn run_of(folder: &tempfile::TempDir, programs: u64) -> (ProgramDb, RunId) {
    let db = ProgramDb::open(folder.path().join("evolve.db")).await.unwrap();
    let run = db.create_run(&common::new_run()).await.unwrap();
    let evaluated = |score| common::evaluation(common::measured(score, Verdict::Improved));
    db.store_evaluation(run, ProgramId(0), &evaluated(1.0)).await.unwrap();
    for number in 1..=programs {
        let parent = if number % 2 == 1 { 0 } else { number - 1 };
        if number % 5 == 0 {
            let outcome = Outcome::Compile { message: format!("error {number}") };
            db.store_proposal(run, &common::failed(number, 0, outcome)).await.unwrap();
            continue;
        }
        let parent = if parent % 5 == 0 { 0 } else { parent };
        db.store_proposal(run, &common::new_proposal(number, parent)).await.unwrap();
        let score = if number == 7 { 5.0 } else { 1.0 + number as f64 / 100.0 };
        db.store_evaluation(run, ProgramId(number), &evaluated(score)).await.unwrap();
    }
    (db, run)
}

fn numbers(listed: &[program_db::view::Listed]) -> Vec<u64> {
    listed.iter().map(|row| row.number.0).collect()
}

#[tokio::test]
async fn scores_are_thinned_out_and_no_step_of_the_best_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (db, run) = run_of(&folder, 29).await;
    let all = db.series(run, 100).await.unwrap();
    assert_eq!((all.width, all.buckets.len(), all.last), (1, 30, Some(ProgramId(29))));
    assert_eq!((all.buckets[5].measured, all.buckets[5].best), (0, None));

    let thin = db.series(run, 3).await.unwrap();
    assert_eq!((thin.width, thin.buckets.len()), (10, 3));
    assert_eq!((thin.buckets[0].ended, thin.buckets[0].measured), (10, 9));
    assert_eq!(thin.buckets[0].best, Some((ProgramId(7), 5.0)));
    assert_eq!(thin.buckets[1].worst, Some(1.11));

    let steps = db.steps(run).await.unwrap();
    let found: Vec<(u64, Option<f64>)> = steps.iter().map(|step| (step.number.0, step.before)).collect();
    assert_eq!(
        found,
        [
            (0, None),
            (1, Some(1.0)),
            (2, Some(1.01)),
            (3, Some(1.02)),
            (4, Some(1.03)),
            (6, Some(1.04)),
            (7, Some(1.06))
        ]
    );
    assert!(steps[6].outcome.as_ref().is_some_and(|outcome| outcome.score().is_some()));
}

#[tokio::test]
async fn endings_and_makers_count_everything_once() {
    let folder = tempfile::tempdir().unwrap();
    let (db, run) = run_of(&folder, 29).await;
    let endings = db.endings(run).await.unwrap();
    let counts: Vec<(&str, u64, u64)> =
        endings.iter().map(|ending| (ending.kind.as_str(), ending.count, ending.latest.0)).collect();
    assert_eq!(counts, [("measured", 24, 29), ("compile", 5, 25)]);
    assert_eq!(endings[1].message, "does not compile: error 25");

    let makers = db.makers(run, &db.steps(run).await.unwrap()).await.unwrap();
    assert_eq!(makers.len(), 1);
    let maker = &makers[0];
    assert_eq!((maker.proposals, maker.measured, maker.requests), (29, 24, 58));
    assert_eq!((maker.cost, maker.best), (Some(29.0 * 0.25), Some(5.0)));
    assert!((maker.gain - 4.0).abs() < 1e-9, "from 1 to 5: {}", maker.gain);
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap_in_every_order() {
    let folder = tempfile::tempdir().unwrap();
    let (db, run) = run_of(&folder, 29).await;
    for order in [Order::Newest, Order::Oldest, Order::Best] {
        let all = db.listing(run, &Listing { order, limit: 100, ..Listing::default() }).await.unwrap();
        let mut paged = Vec::new();
        let mut after = None;
        loop {
            let page =
                db.listing(run, &Listing { order, after, limit: 7, ..Listing::default() }).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(Place { number: last.number, score: last.score });
            paged.extend(page);
        }
        assert_eq!(paged, all, "{order:?}");
        assert_eq!(all.len(), if order == Order::Best { 25 } else { 30 });
    }
    let best =
        db.listing(run, &Listing { order: Order::Best, limit: 2, ..Listing::default() }).await.unwrap();
    assert_eq!(numbers(&best), [7, 29]);
    assert_eq!((best[0].parent_score, best[0].generation), (Some(1.0), Some(1)));
}

#[tokio::test]
async fn lists_can_be_narrowed_down() {
    let folder = tempfile::tempdir().unwrap();
    let (db, run) = run_of(&folder, 29).await;
    db.store_proposal(run, &common::new_proposal(30, 2)).await.unwrap();
    let list =
        async |listing: Listing| numbers(&db.listing(run, &Listing { limit: 100, ..listing }).await.unwrap());
    let kind = |kind: &str| Listing { kind: Some(kind.to_owned()), ..Listing::default() };
    assert_eq!(list(kind("compile")).await, [25, 20, 15, 10, 5]);
    assert_eq!(list(kind("pending")).await, [30]);
    assert_eq!(list(Listing { island: Some(1), ..kind("compile") }).await, [25, 15, 5]);
    assert_eq!(list(Listing { by: Some("small".to_owned()), ..kind("compile") }).await.len(), 5);
    assert_eq!(list(Listing { by: Some("initial".to_owned()), ..Listing::default() }).await, [0]);
    assert_eq!(list(Listing { parent: Some(ProgramId(1)), ..Listing::default() }).await, [2]);
    assert_eq!(db.child_count(run, ProgramId(2)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_small_run_is_a_whole_tree_and_a_large_one_keeps_the_best_with_their_ancestors() {
    let folder = tempfile::tempdir().unwrap();
    let (db, run) = run_of(&folder, 29).await;
    let whole = db.tree(run, ProgramId(0), 100).await.unwrap();
    assert_eq!((whole.nodes.len(), whole.is_cut), (30, false));

    let cut = db.tree(run, ProgramId(0), 12).await.unwrap();
    assert!(cut.is_cut);
    let shown: Vec<u64> = cut.nodes.iter().map(|node| node.number.0).collect();
    assert_eq!(shown, [0, 7, 29], "the best two and where they come from");
    assert!(cut.nodes[0].hidden > 10 && cut.nodes[1].hidden == 1);

    let part = db.tree(run, ProgramId(7), 100).await.unwrap();
    assert_eq!(part.nodes.iter().map(|node| node.number.0).collect::<Vec<_>>(), [7, 8]);
    assert_eq!(part.nodes[0].parent, None);
    assert!(db.tree(run, ProgramId(99), 100).await.is_err());
    assert!(db.tree(run + 1, ProgramId(0), 100).await.is_err());
}

#[tokio::test]
async fn a_chain_is_drawn_together_where_it_is_too_long() {
    let folder = tempfile::tempdir().unwrap();
    let db = ProgramDb::open(folder.path().join("evolve.db")).await.unwrap();
    let run = db.create_run(&common::new_run()).await.unwrap();
    for number in 1..=60 {
        db.store_proposal(run, &common::new_proposal(number, number - 1)).await.unwrap();
        let evaluation = common::evaluation(common::measured(number as f64, Verdict::Improved));
        db.store_evaluation(run, ProgramId(number), &evaluation).await.unwrap();
    }
    let tree = db.tree(run, ProgramId(0), 12).await.unwrap();
    let shown: Vec<(u64, u32)> = tree.nodes.iter().map(|node| (node.number.0, node.skipped)).collect();
    assert_eq!(shown, [(0, 0), (59, 58), (60, 0)]);
    assert_eq!(tree.nodes[1].parent, Some(ProgramId(0)));
}

#[tokio::test]
async fn search_is_told_up_to_the_first_number_without_an_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let (db, run) = run_of(&folder, 9).await;
    db.store_proposal(run, &common::new_proposal(10, 0)).await.unwrap();
    db.store_proposal(run, &common::failed(11, 0, Outcome::NoChange)).await.unwrap();
    let first = db.told(run, None, 4, Language::Rust).await.unwrap();
    let rest = db.told(run, Some(ProgramId(3)), 100, Language::Rust).await.unwrap();
    let told: Vec<u64> = first.iter().chain(&rest).map(|told| told.proposal.id.0).collect();
    assert_eq!(told, (0..10).collect::<Vec<u64>>());
    assert!(
        first[1].proposal.code.is_some(),
        "made anew from the source where the fingerprint can't be read"
    );
    assert!(rest[1].proposal.code.is_none(), "5 led to no program");
}

#[tokio::test]
async fn the_device_trace_is_thinned_out_by_evaluations() {
    let folder = tempfile::tempdir().unwrap();
    let (db, run) = run_of(&folder, 29).await;
    let all = db.device_trace(run, 1_000, &[]).await.unwrap();
    let whole = db.reference_trace(run).await.unwrap();
    assert_eq!((all.every, &all.trials), (1, &whole));
    let thin = db.device_trace(run, 10, &[]).await.unwrap();
    assert_eq!(thin.every, 3);
    assert!(thin.trials.iter().all(|trial| trial.number.0 % 3 == 0));
}
