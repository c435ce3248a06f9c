//! Runs written into a database as searches of kernels would have.

use std::path::Path;

use orchestrator::report::judgement::Judgement;
use program_db::{
    Decision, MeasuredBy, NewComparison, NewEvaluation, NewProgram, NewProposal, NewRun, ProgramDb, Trial,
};
use search::{Measured, Outcome, ProgramId, Score, Verdict};
use serde_json::{Value, json};

use super::Project;

pub(crate) const START: i64 = 1_795_600_000_000;
const SEED: u64 = 13_000_000_000_000_000_000;

/// Some noise that is the same each time.
pub(crate) fn noise(number: u64) -> f64 {
    ((number * 7_919 + 13) % 41) as f64 / 20.0 - 1.0
}

pub(crate) fn trial(number: u64, stage: &str, arm: &str) -> Trial {
    let is_candidate = arm == "candidate";
    Trial {
        stage: stage.to_owned(),
        arm: arm.to_owned(),
        seed: SEED + number / 2,
        started_at: START + number.cast_signed() * 20_000,
        ended_at: START + number.cast_signed() * 20_000 + 900,
        wall_seconds: Some(0.75),
        exit: "ok".to_owned(),
        tokens_per_second: Some((if is_candidate { 354.0 } else { 303.0 }) * (1.0 + 0.02 * noise(number))),
        peak_memory_bytes: Some(if is_candidate { 6_000_000 } else { 13_300_000 }),
        process_peak_bytes: Some(146_600_000),
        train_loss: Some(5.8),
        validation_loss: Some(5.92),
        kernel_layers: Some(14),
        number: Some(number),
        temperature: Some(60.0 + number as f64 / 2.0),
        load: Some(0.2),
        frequency: Some(3_400.0),
        on_battery: Some(false),
        ..Trial::default()
    }
}

/// Six trials of calibration, two looks, twelve pairs of which one was lost.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = (0..6).map(|number| trial(number, "calibration", "reference")).collect();
    trials.extend((6..8).map(|number| trial(number, "screen", "candidate")));
    trials.extend(paired("confirm", "reference", 8));
    let lost = &mut trials[11];
    (lost.exit, lost.tokens_per_second, lost.peak_memory_bytes) = ("crashed".to_owned(), None, None);
    lost.message = Some("signal 11\nmore".to_owned());
    trials
}

pub(crate) fn paired(stage: &str, opponent: &str, first: u64) -> Vec<Trial> {
    let one = |number: u64| {
        let pair = (number / 2) as u32 - (first / 2) as u32;
        let reference_first = !pair.is_multiple_of(3);
        let arm = if reference_first == number.is_multiple_of(2) { opponent } else { "candidate" };
        Trial { pair: Some(pair), reference_first: Some(reference_first), ..trial(number, stage, arm) }
    };
    (first..first + 24).map(one).collect()
}

pub(crate) fn looks() -> Vec<Decision> {
    let look =
        |stage: &str, look, metric: &str, mean, log_e: Option<f64>, action: &str, reason: &str| Decision {
            stage: stage.to_owned(),
            look,
            metric: Some(metric.to_owned()),
            sigma: Some(0.021),
            mean: Some(mean),
            log_e,
            confirmations: 1,
            claims: 0,
            level: log_e.map(|_| 0.002_38),
            lower: Some(-0.008),
            upper: (stage == "screen").then_some(0.048),
            action: action.to_owned(),
            reason: reason.to_owned(),
            references: vec![3, 4, 5],
        };
    let (speed, memory) = ("tokens_per_second", "peak_memory_bytes");
    let clear = "a metric is clearly ahead of the reference";
    let evidence = "the evidence has reached the level and the loss is equal";
    vec![
        look("screen", 1, speed, 0.03, None, "continue", "too early to tell"),
        look("screen", 1, memory, -0.001, None, "continue", "too early to tell"),
        look("screen", 2, speed, 0.154, None, "confirm", clear),
        look("screen", 2, memory, 0.796, None, "confirm", clear),
        Decision {
            metric: None,
            sigma: None,
            mean: None,
            lower: None,
            ..look("confirm", 2, "", 0.0, Some(0.4), "continue", "the trial crashed: the pair is lost")
        },
        look("confirm", 12, speed, 0.157, Some(6.5), "claim", evidence),
        look("confirm", 12, memory, 0.796, Some(7.1), "claim", evidence),
    ]
}

pub(crate) fn judgement() -> Value {
    let effect = |metric: &str, baseline: f64, candidate: f64, change: f64, interval: (f64, f64)| {
        json!({
            "metric": metric, "baseline": baseline, "candidate": candidate, "change": change, "interval": interval,
            "p_value": 0.000_488, "significant": true, "n": [12, 12], "method": "hodges-lehmann",
        })
    };
    json!({
        "verdict": "improved",
        "log_score": 0.31,
        "effects": [
            effect("tokens_per_second", 303.1, 354.2, 0.1686, (0.152, 0.186)),
            effect("peak_memory_bytes", 13_300_000.0, 6_000_000.0, 0.5489, (0.545, 0.553)),
        ],
        "loss": {
            "baseline": 5.9205, "candidate": 5.9211, "limit": 0.01, "difference": 0.000_1, "interval": [-0.002, 0.0022],
            "n": 12, "p_lower": 0.000_02, "p_upper": 0.000_03, "method": "tost-paired", "holds": true,
        },
        "claim": { "metrics": ["tokens_per_second", "peak_memory_bytes"], "log_e": 6.8, "level": 0.002_38 },
        "reason": "improved: tokens_per_second 16.9 % better, peak_memory_bytes 54.9 % better",
        "records": [],
        "something newer": 1,
    })
}

pub(crate) fn measured_by(protocol: &str) -> MeasuredBy {
    MeasuredBy {
        evaluator: "0.1.0".to_owned(),
        harness: Some("0.1.0".to_owned()),
        mlx: Some("0.32.2".to_owned()),
        backend: Some("cpu".to_owned()),
        device: Some("a processor".to_owned()),
        sandbox: Some("reduced".to_owned()),
        protocol: protocol.to_owned(),
        parameters: json!({}),
    }
}

pub(crate) fn measured(score: f64, verdict: Verdict) -> Outcome {
    Outcome::Measured(Measured {
        score: Score::new(score).unwrap(),
        verdict,
        metrics: [("validation_loss".to_owned(), 5.92)].into(),
        effects: Judgement::read(&judgement()).unwrap().effects,
        reason: "improved: tokens_per_second 16.9 % better, peak_memory_bytes 54.9 % better".to_owned(),
        score_error: None,
    })
}

/// A run of a kernel problem: 0 measured, 1 claimed.
pub(crate) async fn search(path: &Path) -> ProgramDb {
    let db = ProgramDb::open(path).await.unwrap();
    let program =
        |text: &str| NewProgram { code_hash: text.to_owned(), source: text.to_owned(), fingerprint: None };
    let run = NewRun {
        title: "quantized-lora <b>".to_owned(),
        problem: "quantized-lora".to_owned(),
        config: String::new(),
        config_path: String::new(),
        seed: 1,
        lookahead: 1,
        initial: program("zero"),
    };
    let run = db.create_run(&run).await.unwrap();
    let proposal = NewProposal {
        number: ProgramId(1),
        island: 0,
        parent: ProgramId(0),
        inspirations: Vec::new(),
        proposer: "rewrite".to_owned(),
        operator: "matmul-packed".to_owned(),
        model: None,
        prompt: None,
        reply: None,
        tokens_in: None,
        tokens_out: None,
        tokens_cached: None,
        tokens_reasoning: None,
        tokens_estimated: false,
        cost: None,
        latency: std::time::Duration::ZERO,
        requests: 0,
        repairs: None,
        lesson: None,
        left_out: vec![],
        change: Ok(program("one")),
    };
    db.store_proposal(run, &proposal).await.unwrap();
    let evaluation = |trials, decisions, judgement, outcome| NewEvaluation {
        measured_by: measured_by("race-confirm"),
        started_at: START,
        ended_at: START + 60_000,
        trials,
        artifacts: Vec::new(),
        decisions,
        judgement,
        outcome,
    };
    let calibration = (0..6).map(|number| trial(number, "calibration", "reference")).collect();
    let initial = evaluation(calibration, Vec::new(), None, measured(1.0, Verdict::Inconclusive));
    db.store_evaluation(run, ProgramId(0), &initial).await.unwrap();
    let claimed =
        evaluation(trials()[6..].to_vec(), looks(), Some(judgement()), measured(1.36, Verdict::Improved));
    db.store_evaluation(run, ProgramId(1), &claimed).await.unwrap();
    db
}

pub(crate) async fn compare(db: &ProgramDb) {
    let comparison = NewComparison {
        measured_by: measured_by("final"),
        started_at: START + 3_600_000,
        ended_at: START + 3_700_000,
        trials: paired("final", "baseline", 40),
        decisions: Vec::new(),
        judgement: Some(judgement()),
    };
    db.store_comparison(1, ProgramId(1), "baseline", &comparison).await.unwrap();
}

/// A project with such a run in its database.
pub(crate) fn searched(with_comparison: bool) -> Project {
    let project = Project::new("");
    let path = project.path("evolve.db");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let db = search(&path).await;
        if with_comparison {
            compare(&db).await;
        }
        db.close().await;
    });
    project
}

/// Text that would be markup, a script, or orders to a terminal, if anybody took it for that.
pub(crate) const HOSTILE: &str = "</pre><script>window.hacked = 1</script><img src=x onerror=\"window.hacked = 2\"> \u{1b}[31mred\u{1b}]0;title\u{7} \u{202e}txt &lt;b&gt;";

/// Adds to the run of [`search`] a program whose every text is hostile: made by a hostile model, judged with hostile words.
pub(crate) async fn add_hostile(db: &ProgramDb, run: i64, number: u64) {
    let source = format!("# {HOSTILE}\n# EVOLVE-BLOCK-START\nx = \"{HOSTILE}\"\n# EVOLVE-BLOCK-END\n");
    let proposal = NewProposal {
        number: ProgramId(number),
        island: 0,
        parent: ProgramId(0),
        inspirations: vec![ProgramId(0)],
        proposer: "llm".to_owned(),
        operator: HOSTILE.to_owned(),
        model: Some(HOSTILE.to_owned()),
        prompt: Some(HOSTILE.to_owned()),
        reply: Some(HOSTILE.to_owned()),
        tokens_in: Some(10),
        tokens_out: Some(20),
        tokens_cached: None,
        tokens_reasoning: None,
        tokens_estimated: true,
        cost: Some(0.01),
        latency: std::time::Duration::from_secs(2),
        requests: 1,
        repairs: None,
        lesson: None,
        left_out: vec![HOSTILE.to_owned()],
        change: Ok(NewProgram { code_hash: HOSTILE.to_owned(), source, fingerprint: None }),
    };
    db.store_proposal(run, &proposal).await.unwrap();
    let measured_by = MeasuredBy { device: Some(HOSTILE.to_owned()), ..measured_by(HOSTILE) };
    let evaluation = NewEvaluation {
        measured_by,
        started_at: START,
        ended_at: START + 60_000,
        trials: Vec::new(),
        artifacts: vec![program_db::Artifact { name: HOSTILE.to_owned(), content: HOSTILE.to_owned() }],
        decisions: Vec::new(),
        judgement: None,
        outcome: Outcome::Crash { stage: search::Stage::Check, message: HOSTILE.to_owned() },
    };
    db.store_evaluation(run, ProgramId(number), &evaluation).await.unwrap();
}
