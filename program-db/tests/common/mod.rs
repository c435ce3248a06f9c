//! What the tests share: rows to store, and helper processes.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::missing_panics_doc, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use program_db::{
    Artifact, Decision, MeasuredBy, NewComparison, NewEvaluation, NewProgram, NewProposal, NewRun, ProgramDb,
    RunId, Trial,
};
use search::{Effect, Measured, Outcome, ProgramId, Score, Verdict};

pub fn new_run() -> NewRun {
    NewRun {
        title: "quantized-lora".to_owned(),
        problem: "quantized-lora".to_owned(),
        config: "problem: problems/quantized-lora\nllm: { api_key: ${KEY} }\n".to_owned(),
        config_path: "/somewhere/config.yaml".to_owned(),
        seed: u64::MAX,
        lookahead: 2,
        initial: new_program(0),
    }
}

pub fn new_program(number: u64) -> NewProgram {
    NewProgram {
        code_hash: format!("{number:064x}"),
        source: format!("// EVOLVE-BLOCK-START\nfn program_{number}() {{}}\n// EVOLVE-BLOCK-END\n"),
        fingerprint: Some(vec![1, 2, number as u8]),
    }
}

pub fn new_proposal(number: u64, parent: u64) -> NewProposal {
    NewProposal {
        number: ProgramId(number),
        island: (number % 2) as usize,
        parent: ProgramId(parent),
        inspirations: vec![ProgramId(0)],
        proposer: "llm".to_owned(),
        operator: "edit".to_owned(),
        model: Some("small".to_owned()),
        prompt: Some(format!("Improve this ({number}).")),
        reply: Some("SEARCH ... REPLACE ...".to_owned()),
        tokens_in: Some(1_000),
        tokens_out: Some(200),
        tokens_cached: Some(600),
        tokens_reasoning: Some(50),
        tokens_estimated: false,
        cost: Some(0.25),
        latency: Duration::from_millis(1_500),
        requests: 2,
        repairs: None,
        lesson: None,
        left_out: vec![],
        change: Ok(new_program(number)),
    }
}

pub fn failed(number: u64, parent: u64, outcome: Outcome) -> NewProposal {
    NewProposal { change: Err(outcome), ..new_proposal(number, parent) }
}

pub fn measured(score: f64, verdict: Verdict) -> Outcome {
    Outcome::Measured(Measured {
        score: Score::new(score).unwrap(),
        verdict,
        metrics: BTreeMap::from([
            ("accuracy".to_owned(), score / 2.0),
            ("peak_memory_bytes".to_owned(), 1_000_000.5),
            ("tokens_per_second".to_owned(), score * 1_000.0),
        ]),
        effects: vec![Effect {
            metric: "tokens_per_second".to_owned(),
            baseline: 1_000.0,
            candidate: score * 1_000.0,
            change: score - 1.0,
            interval: Some((score - 1.1, score - 0.9)),
            p_value: Some(0.1 + 0.2),
            significant: verdict != Verdict::Inconclusive,
            n: (5, 5),
            method: "welch-t".to_owned(),
        }],
        reason: "as the trials say".to_owned(),
        score_error: None,
    })
}

pub fn trial(arm: &str, seed: u64) -> Trial {
    Trial {
        stage: "fixed".to_owned(),
        arm: arm.to_owned(),
        seed,
        started_at: 1_700_000_000_000,
        ended_at: 1_700_000_001_000,
        wall_seconds: Some(0.987_654_321),
        exit: "ok".to_owned(),
        tokens_per_second: Some(1_234.5),
        peak_memory_bytes: Some(123_456_789),
        process_peak_bytes: Some(u64::from(u32::MAX) * 4),
        train_loss: Some(2.5),
        validation_loss: Some(2.75),
        kernel: (arm == "candidate").then(|| "abc".to_owned()),
        kernel_layers: Some(8),
        metrics: BTreeMap::from([("steps".to_owned(), 12.0)]),
        message: None,
        ..Trial::default()
    }
}

/// A trial of a pair that the protocol was told of.
pub fn numbered(number: u64, arm: &str, pair: u32) -> Trial {
    Trial {
        stage: "confirm".to_owned(),
        number: Some(number),
        pair: Some(pair),
        reference_first: Some(pair.is_multiple_of(2)),
        references: vec![3, 4, number.saturating_sub(1)],
        load: Some(0.25),
        temperature: Some(71.5),
        frequency: Some(3_400.0),
        on_battery: Some(false),
        started_at: 1_700_000_000_000 + number.cast_signed() * 1_000,
        ended_at: 1_700_000_000_900 + number.cast_signed() * 1_000,
        ..trial(arm, 1_000 + u64::from(pair))
    }
}

pub fn decision(metric: &str) -> Decision {
    Decision {
        stage: "confirm".to_owned(),
        look: 2,
        metric: Some(metric.to_owned()),
        sigma: Some(0.02),
        mean: Some(0.1 + 0.2),
        log_e: Some(1.5),
        confirmations: 3,
        claims: 1,
        level: Some(0.000_4),
        lower: Some(-0.01),
        upper: None,
        action: "continue".to_owned(),
        reason: "not enough evidence yet".to_owned(),
        references: vec![7, u64::from(u32::MAX)],
    }
}

pub fn comparison(trials: Vec<Trial>) -> NewComparison {
    let NewEvaluation { measured_by, started_at, ended_at, decisions, judgement, .. } =
        evaluation(Outcome::NoChange);
    NewComparison { measured_by, started_at, ended_at, trials, decisions, judgement }
}

pub fn evaluation(outcome: Outcome) -> NewEvaluation {
    NewEvaluation {
        measured_by: MeasuredBy {
            evaluator: "0.1.0".to_owned(),
            harness: Some("0.1.0".to_owned()),
            mlx: Some("0.32.2".to_owned()),
            backend: Some("cpu".to_owned()),
            device: Some("a processor".to_owned()),
            sandbox: Some("full".to_owned()),
            protocol: "fixed".to_owned(),
            parameters: serde_json::json!({ "alpha": 0.05 }),
        },
        started_at: 1_700_000_000_000,
        ended_at: 1_700_000_012_500,
        trials: vec![trial("baseline", 42), trial("candidate", u64::MAX - 1)],
        artifacts: vec![
            Artifact { name: "stderr".to_owned(), content: "warm".to_owned() },
            Artifact { name: "stderr".to_owned(), content: "up".to_owned() },
        ],
        decisions: vec![decision("tokens_per_second"), decision("peak_memory_bytes")],
        judgement: Some(serde_json::json!({ "log_score": 0.1 + 0.2, "claim": null })),
        outcome,
    }
}

/// A run with one of everything: 0 measured, 1 measured and improved, 2 no change, 3 timeout with trials, 4 duplicate,
/// 5 (made from 1) measured higher but inconclusive, 6 not evaluated.
pub async fn history(db: &ProgramDb) -> RunId {
    let run = db.create_run(&new_run()).await.unwrap();
    db.store_evaluation(run, ProgramId(0), &evaluation(measured(1.0, Verdict::Inconclusive))).await.unwrap();
    db.store_proposal(run, &new_proposal(1, 0)).await.unwrap();
    db.store_proposal(run, &failed(2, 0, Outcome::NoChange)).await.unwrap();
    db.store_evaluation(run, ProgramId(1), &evaluation(measured(1.25, Verdict::Improved))).await.unwrap();
    let rewrite = NewProposal {
        proposer: "rewrite".to_owned(),
        operator: "rules a + b".to_owned(),
        model: None,
        prompt: None,
        reply: None,
        tokens_in: None,
        tokens_out: None,
        tokens_cached: None,
        tokens_reasoning: None,
        cost: None,
        ..new_proposal(4, 0)
    };
    db.store_proposal(run, &rewrite).await.unwrap();
    db.store_proposal(run, &new_proposal(3, 1)).await.unwrap();
    db.store_outcome(run, ProgramId(4), &Outcome::Duplicate { of: ProgramId(1) }).await.unwrap();
    let timeout = Outcome::Timeout { stage: search::Stage::Trial, limit_seconds: 20.0 };
    db.store_evaluation(run, ProgramId(3), &evaluation(timeout)).await.unwrap();
    db.store_proposal(run, &new_proposal(5, 1)).await.unwrap();
    db.store_evaluation(run, ProgramId(5), &evaluation(measured(1.3, Verdict::Inconclusive))).await.unwrap();
    db.store_proposal(run, &new_proposal(6, 5)).await.unwrap();
    run
}

/// This test binary again, to run one of its ignored tests as a process of its own.
pub fn helper(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command
}
