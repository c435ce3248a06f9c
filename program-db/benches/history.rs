//! How long it takes to resume and to query a run of 20 000 programs, and to store what a run stores.
//!
//! `cargo bench -p program-db`

#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::{Bencher, black_box};
use program_db::{ProgramDb, RunId};
use search::{Outcome, ProgramId, Verdict};
use tokio::runtime::Runtime;

#[path = "../tests/common/mod.rs"]
mod common;

const PROGRAMS: u64 = 20_000;

struct History {
    runtime: Runtime,
    db: ProgramDb,
    run: RunId,
    /// The next free number.
    next: AtomicU64,
    _folder: tempfile::TempDir,
}

static HISTORY: LazyLock<History> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let (db, run) = runtime.block_on(async {
        let path = folder.path().join("evolve.db");
        let db = ProgramDb::open(&path).await.unwrap();
        let run = common::history(&db).await;
        fill(&path).await;
        (db, run)
    });
    History { runtime, db, run, next: AtomicU64::new(1_000_000), _folder: folder }
});

/// 20 000 programs of 4 kB, each a child of a hundred numbers before, with a prompt of 16 kB, a reply of 4 kB and ten
/// trials; one in three failed. In one transaction, which takes seconds; the calls are measured by themselves.
async fn fill(path: &std::path::Path) {
    use sqlx::ConnectOptions as _;
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let measured = serde_json::to_string(&common::measured(1.5, Verdict::Improved)).unwrap();
    let failed = serde_json::to_string(&Outcome::Compile { message: "error: ".repeat(50) }).unwrap();
    sqlx::query("BEGIN; PRAGMA defer_foreign_keys = ON").execute(&mut connection).await.unwrap();
    for sql in [
        "INSERT INTO proposal (run_id, number, island, parent, proposer, operator, model, tokens_in, tokens_out, cost,
                               latency_ms, requests, inspirations, prompt, reply)
         SELECT 1, n, n % 4, CASE WHEN n < 110 THEN 0 ELSE n - 100 END, 'llm', 'edit', 'small', 4000, 1000, 0.001, 2000,
                1, '[]', hex(randomblob(8000)), hex(randomblob(2000)) FROM number",
        "INSERT INTO program (run_id, number, generation, code_hash, source)
         SELECT 1, n, n / 100, hex(randomblob(32)), hex(randomblob(2000)) FROM number",
        "INSERT INTO evaluation (id, run_id, number, started_at, ended_at, evaluator, protocol, parameters)
         SELECT n, 1, n, 0, 1000, '0.1.0', 'fixed', '{}' FROM number",
        "INSERT INTO trial (evaluation_id, idx, stage, arm, seed, started_at, ended_at, exit, tokens_per_second,
                            peak_memory_bytes, metrics, trial_number, refs)
         SELECT n, i, 'fixed', CASE WHEN i < 5 THEN 'baseline' ELSE 'candidate' END, i, 0, 1, 'ok', 1000, 1000000, '{}',
                n * 10 + i, '[1,2,3]'
         FROM number, (SELECT value AS i FROM json_each('[0,1,2,3,4,5,6,7,8,9]')) WHERE n % 3",
        "INSERT INTO outcome (run_id, number, evaluation_id, message, outcome)
         SELECT 1, n, n, 'in words',
                CASE WHEN n % 3 THEN json_set(?1, '$.score', 0.5 + (n * 7919 % 10000) / 10000.0) ELSE ?2 END
         FROM number",
    ] {
        let numbers = "WITH RECURSIVE number (n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM number WHERE n < ?3 + 9) ";
        let sql = format!("{numbers} {sql}");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&measured)
            .bind(&failed)
            .bind(PROGRAMS.cast_signed())
            .execute(&mut connection)
            .await
            .unwrap();
    }
    sqlx::query("COMMIT").execute(&mut connection).await.unwrap();
}

fn main() {
    LazyLock::force(&HISTORY);
    divan::main();
}

#[divan::bench(sample_count = 10)]
fn resume_reads_everything() -> usize {
    let History { runtime, db, run, .. } = &*HISTORY;
    let stored = runtime.block_on(async { db.replay(*run).await.unwrap().collect().await.unwrap() });
    assert!(stored.len() as u64 > PROGRAMS);
    stored.len()
}

#[divan::bench(sample_count = 10)]
fn resume_reads_what_the_protocol_was_told() -> usize {
    let History { runtime, db, run, .. } = &*HISTORY;
    let history = runtime.block_on(db.measured_history(*run)).unwrap();
    assert!(history.len() as u64 > PROGRAMS / 2);
    history.len()
}

#[divan::bench(sample_count = 20)]
fn next_trial_number() -> u64 {
    let History { runtime, db, run, .. } = &*HISTORY;
    black_box(runtime.block_on(db.next_trial_number(*run))).unwrap()
}

#[divan::bench(sample_count = 20)]
fn reference_trace() -> usize {
    let History { runtime, db, run, .. } = &*HISTORY;
    black_box(runtime.block_on(db.reference_trace(*run))).unwrap().len()
}

#[divan::bench(sample_count = 20, args = [
    "score > 1.4 order by score desc limit 20",
    "number = 12345",
    "kind = compile and island = 2 limit 100",
    "parent = 5000",
    "not score > 0.6",
    "tokens_per_second > 1k",
    "metrics.accuracy > 0.7",
    "source ~ ABCDEF",
    "",
])]
fn query(expression: &str) -> usize {
    let History { runtime, db, run, .. } = &*HISTORY;
    black_box(runtime.block_on(db.query(Some(*run), expression)).unwrap()).rows.len()
}

#[divan::bench(sample_count = 50)]
fn best_of_ten() -> usize {
    let History { runtime, db, run, .. } = &*HISTORY;
    black_box(runtime.block_on(db.best(*run, 10)).unwrap()).len()
}

#[divan::bench(sample_count = 20)]
fn summary() -> u64 {
    let History { runtime, db, run, .. } = &*HISTORY;
    black_box(runtime.block_on(db.summary(*run)).unwrap()).programs
}

#[divan::bench(sample_count = 50)]
fn lineage_of_two_hundred() -> usize {
    let History { runtime, db, run, .. } = &*HISTORY;
    let lineage = runtime.block_on(db.lineage(*run, ProgramId(PROGRAMS))).unwrap();
    assert!(lineage.len() > 190);
    lineage.len()
}

/// Waits for the disk.
#[divan::bench(sample_count = 200)]
fn store_proposal() {
    let History { runtime, db, run, next, .. } = &*HISTORY;
    let proposal = common::new_proposal(next.fetch_add(1, Ordering::Relaxed), 0);
    runtime.block_on(db.store_proposal(*run, &proposal)).unwrap();
}

/// Waits for the disk.
#[divan::bench(sample_count = 200)]
fn store_evaluation_of_ten_trials(bencher: Bencher) {
    let History { runtime, db, run, next, .. } = &*HISTORY;
    let mut evaluation = common::evaluation(common::measured(1.5, Verdict::Improved));
    evaluation.trials = (0..10).map(|seed| common::trial("candidate", seed)).collect();
    bencher
        .with_inputs(|| {
            let number = next.fetch_add(1, Ordering::Relaxed);
            runtime.block_on(db.store_proposal(*run, &common::new_proposal(number, 0))).unwrap();
            ProgramId(number)
        })
        .bench_values(|number| runtime.block_on(db.store_evaluation(*run, number, &evaluation)).unwrap());
}
