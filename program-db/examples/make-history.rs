//! Makes a database with one long run, for benchmarks of what reads it: `make-history FILE [PROGRAMS]`.
//!
//! Not a search's, but of a search's shape: every tenth program has many children, scores rise as they do in one, a third fails,
//! sources have fingerprints, evaluations have ten trials, prompts and replies are as long as they use to be.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for benchmarks")]

use std::collections::BTreeMap;

use program_db::{NewProgram, NewRun, ProgramDb};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use search::{Effect, Fingerprint, Language, Measured, Outcome, Score, Stage, Verdict};
use sqlx::{ConnectOptions as _, SqliteConnection};

/// Sources that differ; others are repeated with another hash.
const SOURCES: usize = 3_000;
/// 2026-11-01.
const START: i64 = 1_793_491_200_000;

struct Row {
    parent: u64,
    generation: u32,
    score: Option<f64>,
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("usage: make-history FILE [PROGRAMS]");
    let programs: u64 = arguments.next().map_or(100_000, |count| count.parse().unwrap());
    let mut rng = SmallRng::seed_from_u64(7);
    let sources: Vec<String> = (0..SOURCES).map(|_| source(&mut rng)).collect();
    let prints: Vec<Vec<u8>> =
        sources.iter().map(|source| Fingerprint::of(source, Language::Python).to_bytes()).collect();
    let db = ProgramDb::open(&path).await.unwrap();
    let initial = NewProgram {
        code_hash: "0".to_owned(),
        source: sources[0].clone(),
        fingerprint: Some(prints[0].clone()),
    };
    let config = std::env::var("HISTORY_CONFIG").unwrap_or_default();
    let run = NewRun {
        title: format!("a long run of {programs} programs"),
        problem: "packing".to_owned(),
        config: std::fs::read_to_string(&config).unwrap_or_default(),
        config_path: config,
        seed: 42,
        lookahead: 4,
        initial,
    };
    db.create_run(&run).await.unwrap();
    db.close().await;

    let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    sqlx::raw_sql(
        "PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; BEGIN; PRAGMA defer_foreign_keys = ON",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let mut rows: Vec<Row> = vec![Row { parent: 0, generation: 0, score: Some(1.0) }];
    let mut tips: Vec<u64> = vec![0];
    outcome(&mut connection, 0, &measured(1.0, 1.0), &mut rng).await;
    for number in 1..=programs {
        // Mostly the best of a few of the recent good ones, as a tournament would; else anyone good.
        let recent = tips.len().saturating_sub(3_000);
        let parent = if rng.random_bool(0.75) {
            let drawn = (0..5).map(|_| tips[rng.random_range(recent..tips.len())]);
            drawn.max_by(|a, b| score_of(&rows, *a).total_cmp(&score_of(&rows, *b))).unwrap()
        } else {
            tips[rng.random_range(0..tips.len())]
        };
        let above = rows[parent as usize].score.unwrap_or(1.0);
        let ended = match rng.random_range(0..100) {
            0..8 => {
                Outcome::Compile { message: "error[E0308]: mismatched types\n --> block.rs:14:9".to_owned() }
            }
            8..14 => {
                Outcome::WrongResult { message: "y of shape (4, 64) differs by 0.03 (limit 0.01)".to_owned() }
            }
            14..18 => Outcome::Patch { reason: "edit 2: the text to be replaced isn't there".to_owned() },
            18..21 => Outcome::Crash { stage: Stage::Check, message: "index out of bounds: 4".to_owned() },
            21..23 => Outcome::Timeout { stage: Stage::Trial, limit_seconds: 20.0 },
            23..26 => Outcome::Duplicate { of: search::ProgramId(parent) },
            _ => {
                let noise: f64 = rng.random_range(-0.08..0.02);
                let rise = if rng.random_bool(0.002) { 0.01 } else { 0.0 };
                measured((above + noise * (1.0 + above / 4.0) + rise).max(0.05), above)
            }
        };
        let generation = rows[parent as usize].generation + 1;
        let has_program = !matches!(ended, Outcome::Patch { .. });
        proposal(&mut connection, number, parent, &mut rng).await;
        if has_program {
            let pick = rng.random_range(0..SOURCES);
            sqlx::query("INSERT INTO program (run_id, number, generation, code_hash, source, fingerprint) VALUES (1, ?, ?, ?, ?, ?)")
                .bind(number.cast_signed())
                .bind(generation)
                .bind(format!("{number:064x}"))
                .bind(&sources[pick])
                .bind(&prints[pick])
                .execute(&mut connection)
                .await
                .unwrap();
        }
        outcome(&mut connection, number, &ended, &mut rng).await;
        let score = ended.score().map(Score::get);
        rows.push(Row { parent, generation, score });
        if score.is_some_and(|score| score > above - 0.02) {
            tips.push(number);
        }
        if number % 10_000 == 0 {
            println!("{number} of {programs}");
        }
    }
    sqlx::raw_sql("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
    let deepest = rows.iter().map(|row| row.generation).max().unwrap_or_default();
    println!(
        "{path}: {programs} programs, {deepest} generations, the last made from {}",
        rows[rows.len() - 1].parent
    );
}

fn score_of(rows: &[Row], number: u64) -> f64 {
    rows[number as usize].score.unwrap_or_default()
}

fn source(rng: &mut SmallRng) -> String {
    let mut text = "import math\n\n\n# EVOLVE-BLOCK-START\ndef place(circles):\n    \"\"\"Puts circles into a square.\"\"\"\n".to_owned();
    for line in 0..rng.random_range(10..90) {
        let (a, b) = (rng.random_range(0..30), rng.random_range(0..900));
        text.push_str(&match a % 4 {
            0 => format!("    radius_{a} = math.sqrt({b} / {}.0)\n", line + 1),
            1 => format!("    for index in range({b}):\n        circles[index].move(radius_{a}, {b})\n"),
            2 => format!("    if len(circles) > {b}:\n        circles = circles[:{b}]  # too many\n"),
            _ => format!("    offset_{a} = [value * {b} for value in circles]\n"),
        });
    }
    text.push_str("    return circles\n# EVOLVE-BLOCK-END\n");
    text
}

fn measured(score: f64, parent: f64) -> Outcome {
    let change = score / parent - 1.0;
    let effect = |metric: &str, change: f64| Effect {
        metric: metric.to_owned(),
        baseline: 1_000.0,
        candidate: 1_000.0 * (1.0 + change),
        change,
        interval: Some((change - 0.012, change + 0.012)),
        p_value: Some(0.01),
        significant: change > 0.012,
        n: (5, 5),
        method: "welch-t".to_owned(),
    };
    let verdict = if change > 0.012 { Verdict::Improved } else { Verdict::Inconclusive };
    Outcome::Measured(Measured {
        score: Score::new(score).unwrap(),
        verdict,
        metrics: BTreeMap::from([
            ("peak_memory_bytes".to_owned(), 13_000_000.0 / score),
            ("tokens_per_second".to_owned(), 300.0 * score),
            ("validation_loss".to_owned(), 5.92),
        ]),
        effects: vec![effect("tokens_per_second", change), effect("peak_memory_bytes", change / 2.0)],
        reason: format!("tokens_per_second {:.1} % better", change * 100.0),
        score_error: Some(0.006),
    })
}

async fn proposal(connection: &mut SqliteConnection, number: u64, parent: u64, rng: &mut SmallRng) {
    let (proposer, model, operator) = match rng.random_range(0..10) {
        0..5 => ("llm", Some("small-model"), "edit"),
        5..7 => ("llm", Some("large-model"), "edit"),
        7 => ("llm", Some("large-model"), "full_rewrite"),
        8 => ("llm", Some("small-model"), "crossover"),
        _ => ("rewrite", None, "matmul-packed"),
    };
    let large = model == Some("large-model");
    sqlx::query(
        "INSERT INTO proposal (run_id, number, created_at, island, parent, proposer, operator, model, tokens_in, tokens_out,
                               cost, latency_ms, requests, inspirations, prompt, reply)
         VALUES (1, ?1, ?2, ?1 % 5, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 2400, 1, '[]', hex(randomblob(2000)), hex(randomblob(600)))",
    )
    .bind(number.cast_signed())
    .bind(START + number.cast_signed() * 900)
    .bind(parent.cast_signed())
    .bind(proposer)
    .bind(operator)
    .bind(model)
    .bind(model.map(|_| 4_000))
    .bind(model.map(|_| 900))
    .bind(model.map(|_| if large { 0.011 } else { 0.0013 }))
    .execute(connection)
    .await
    .unwrap();
}

async fn outcome(connection: &mut SqliteConnection, number: u64, outcome: &Outcome, rng: &mut SmallRng) {
    let number = number.cast_signed();
    let at = START + number * 900 + 200;
    let evaluated = outcome.was_evaluated();
    if evaluated {
        sqlx::query(
            "INSERT INTO evaluation (id, run_id, number, started_at, ended_at, evaluator, harness, mlx, backend, device, sandbox,
                                     protocol, parameters, judgement)
             VALUES (?1 + 1, 1, ?1, ?2, ?2 + 500, '0.1.0', '0.1.0', '0.32.2', 'cpu', 'a processor', 'full', 'fixed', '{}', ?3)",
        )
        .bind(number)
        .bind(at)
        .bind(serde_json::json!({"verdict": "inconclusive", "effects": [], "reason": "x".repeat(300)}).to_string())
        .execute(&mut *connection)
        .await
        .unwrap();
    }
    if outcome.measured().is_some() {
        let speed = 300.0 * outcome.score().map_or(1.0, Score::get);
        for index in 0..10 {
            let (arm, speed) = if index % 2 == 0 { ("baseline", 300.0) } else { ("candidate", speed) };
            let drift = 1.0 - 0.05 * (number as f64 / 40_000.0).sin().abs();
            sqlx::query(
                "INSERT INTO trial (evaluation_id, idx, stage, arm, seed, started_at, ended_at, wall_seconds, exit,
                                    tokens_per_second, peak_memory_bytes, metrics, trial_number, pair, reference_first, refs,
                                    load, temperature, frequency)
                 VALUES (?1 + 1, ?2, 'fixed', ?3, ?2 / 2, ?4, ?4 + 40, 0.04, 'ok', ?5, 13000000, '{}', ?1 * 10 + ?2, ?2 / 2,
                         ?2 % 2 = 0, '[]', 0.2, 61.0, 3400)",
            )
            .bind(number)
            .bind(index)
            .bind(arm)
            .bind(at + i64::from(index) * 45)
            .bind(speed * drift * (1.0 + rng.random_range(-0.01..0.01)))
            .execute(&mut *connection)
            .await
            .unwrap();
        }
    }
    sqlx::query("INSERT INTO outcome (run_id, number, created_at, evaluation_id, message, outcome) VALUES (1, ?1, ?2, ?3, ?4, ?5)")
        .bind(number)
        .bind(at + 520)
        .bind(evaluated.then_some(number + 1))
        .bind(outcome.to_string())
        .bind(serde_json::to_string(outcome).unwrap())
        .execute(connection)
        .await
        .unwrap();
}
