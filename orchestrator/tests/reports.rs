//! What people are shown of the statistics: verdicts with their grounds, the final report, the drawings.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::Project;
use insta::assert_snapshot;
use orchestrator::plot::{self, Strip};
use orchestrator::report::calibration::{Ambient, Calibration, Noise, warnings};
use orchestrator::report::judgement::Judgement;
use orchestrator::report::trace::{Promotion, Trace};
use orchestrator::report::{decisions, pairs};
use program_db::{
    Decision, MeasuredBy, NewComparison, NewEvaluation, NewProgram, NewProposal, NewRun, ProgramDb,
    ReferenceTrial, Trial,
};
use search::{Measured, Outcome, ProgramId, Score, Verdict};
use serde_json::{Value, json};

const START: i64 = 1_795_600_000_000;
const SEED: u64 = 13_000_000_000_000_000_000;

/// Some noise that is the same each time.
fn noise(number: u64) -> f64 {
    ((number * 7_919 + 13) % 41) as f64 / 20.0 - 1.0
}

fn trial(number: u64, stage: &str, arm: &str) -> Trial {
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
fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = (0..6).map(|number| trial(number, "calibration", "reference")).collect();
    trials.extend((6..8).map(|number| trial(number, "screen", "candidate")));
    trials.extend(paired("confirm", "reference", 8));
    let lost = &mut trials[11];
    (lost.exit, lost.tokens_per_second, lost.peak_memory_bytes) = ("crashed".to_owned(), None, None);
    lost.message = Some("signal 11\nmore".to_owned());
    trials
}

fn paired(stage: &str, opponent: &str, first: u64) -> Vec<Trial> {
    let one = |number: u64| {
        let pair = (number / 2) as u32 - (first / 2) as u32;
        let reference_first = !pair.is_multiple_of(3);
        let arm = if reference_first == number.is_multiple_of(2) { opponent } else { "candidate" };
        Trial { pair: Some(pair), reference_first: Some(reference_first), ..trial(number, stage, arm) }
    };
    (first..first + 24).map(one).collect()
}

fn looks() -> Vec<Decision> {
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

fn judgement() -> Value {
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

fn reference_trial(number: u64) -> ReferenceTrial {
    // Throttled from the second half on; program 7 becomes the reference after trial 20.
    let throttled = if number > 30 { 0.93 } else { 1.0 };
    let speed = if number > 20 { 354.0 } else { 303.0 };
    ReferenceTrial {
        started_at: START + number.cast_signed() * 30_000,
        seed: number,
        arm: "reference".to_owned(),
        number: ProgramId(number / 2),
        tokens_per_second: Some(speed * throttled * (1.0 + 0.01 * noise(number))),
        peak_memory_bytes: Some(13_300_000),
        load: Some(0.2),
        temperature: Some(if number > 30 { 93.0 } else { 61.0 } + noise(number)),
        frequency: Some(if number > 30 { 2_500.0 } else { 3_400.0 }),
    }
}

fn throttling() -> Trace {
    Trace {
        trials: (0..48).map(reference_trial).collect(),
        promotions: vec![Promotion { at: START + 20 * 30_000 + 900, number: 7 }],
    }
}

#[test]
fn a_verdict_is_explained_in_words_with_every_number_behind_it() {
    let judgement = Judgement::read(&judgement()).unwrap();
    assert_snapshot!(decisions::explanation(&trials(), &looks(), Some(&judgement)));
}

#[test]
fn a_verdict_of_a_fixed_protocol_needs_no_pairs() {
    let trials: Vec<Trial> = (0..4)
        .map(|number| Trial {
            number: None,
            ..trial(number, "fixed", if number < 2 { "baseline" } else { "candidate" })
        })
        .collect();
    let text = decisions::explanation(&trials, &[], None);
    assert!(text.starts_with("\ntrials:\n  arm") && text.lines().count() == 7, "{text}");
    assert_eq!(decisions::explanation(&[], &[], None), "");
}

#[test]
fn a_pair_that_was_run_again_stands_twice_and_a_lost_half_has_no_change() {
    let mut rows = paired("confirm", "reference", 0)[..4].to_vec();
    rows[3].exit = "timeout".to_owned();
    rows.push(Trial { pair: Some(1), ..trial(40, "confirm", "reference") });
    let pairs = pairs::pairs(&rows);
    let changes: Vec<bool> = pairs.iter().map(|pair| pair.change("tokens_per_second").is_some()).collect();
    assert_eq!(changes, [true, false, false]);
    assert!((pairs[0].change("peak_memory_bytes").unwrap() - 0.5489).abs() < 1e-4, "less memory is better");
}

#[test]
fn a_loss_that_is_not_shown_to_be_equal_is_said_loudly() {
    let mut json = judgement();
    json["loss"]["holds"] = false.into();
    let words = Judgement::read(&json).unwrap().loss.unwrap().words();
    assert!(words.starts_with("loss: NOT shown to be equivalent within ±1.0 %"), "{words}");
}

#[test]
fn a_throttling_machine_is_seen_though_the_reference_changed() {
    assert_snapshot!(throttling().words(), @r"
    the machine got slower: -7.2 % in the last third against the first
    48 trials of the reference, from -8.2 % to +0.7 % against the first ones
    60 to 94 °C; 6.7 % slower where it was hottest: it throttles
    clock 2500 to 3400 MHz: throttled, or idle before some trials
    ");
    let steady = Trace { trials: (0..20).map(reference_trial).collect(), promotions: Vec::new() };
    assert!(steady.words().starts_with("steady: "), "{}", steady.words());
    let short = Trace { trials: (0..3).map(reference_trial).collect(), promotions: Vec::new() };
    assert_eq!(short.words(), "too few trials of the reference to see a drift (3 trials)\n");
    assert_eq!(Trace::default().words(), "too few trials of the reference to see a drift (0 trials)\n");
}

#[test]
fn the_trace_is_drawn() {
    assert_snapshot!(plot::trace(&throttling()).as_str());
}

#[test]
fn drawings_of_nothing_are_drawings() {
    for drawing in [plot::trace(&Trace::default()), plot::pairs("nothing", &[])] {
        let svg = drawing.as_str();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
    let flat = Strip { metric: "m".to_owned(), changes: vec![(0.0, true)], effect: None, interval: None };
    let drawing = plot::pairs("flat", &[flat]);
    let svg = drawing.as_str();
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn names_in_drawings_are_escaped() {
    let strip = Strip {
        metric: "<script>alert('1')</script>&\u{1b}\u{202e}".to_owned(),
        changes: vec![(0.1, false)],
        effect: Some(0.1),
        interval: None,
    };
    let drawing = plot::pairs("a < b \"c\"", &[strip]);
    let svg = drawing.as_str();
    assert!(!svg.contains("<script") && !svg.contains(['\u{1b}', '\u{202e}']), "{svg}");
    assert!(svg.contains("<title>a &lt; b &quot;c&quot;</title>"), "{svg}");
}

#[test]
fn a_calibration_says_what_can_be_found_and_what_to_change() {
    let ambient = Ambient {
        load_before: Some(1.3),
        on_battery: Some(true),
        frequency: Some((3_400.0, 2_500.0)),
        temperature: Some(97.0),
    };
    let calibration = Calibration {
        problem: "quantized-lora".to_owned(),
        device: Some("a processor".to_owned()),
        protocol: "race-confirm".to_owned(),
        budget: "at most 3 trials and 24 pairs".to_owned(),
        trials: 20,
        metrics: vec![
            Noise {
                metric: "tokens_per_second".to_owned(),
                sigma: 0.021,
                drift: -0.0031,
                drift_p: Some(0.003),
                autocorrelation: Some(0.62),
                detectable: Some(0.045),
            },
            Noise { metric: "peak_memory_bytes".to_owned(), detectable: Some(0.002), ..Noise::default() },
        ],
        warnings: warnings(&ambient),
        advice: "the machine drifts: let it cool, close other programs".to_owned(),
    };
    assert_snapshot!(calibration.text());
    assert_eq!(warnings(&Ambient::default()), Vec::<String>::new(), "what isn't known is no warning");
}

fn measured_by(protocol: &str) -> MeasuredBy {
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

fn measured(score: f64, verdict: Verdict) -> Outcome {
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
async fn search(path: &Path) -> ProgramDb {
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

async fn compare(db: &ProgramDb) {
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
fn searched(with_comparison: bool) -> Project {
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

#[test]
fn show_tells_the_verdict_first_and_then_its_grounds() {
    let project = searched(true);
    assert_snapshot!(project.succeed(&["show", "1"]));
    let shown: Value = serde_json::from_str(&project.succeed(&["show", "1", "--json"])).unwrap();
    assert_eq!(shown["decisions"].as_array().unwrap().len(), looks().len());
    assert_eq!(shown["judgement"], judgement());
}

#[test]
fn the_report_says_what_is_not_measured_yet_and_how_to_measure_it() {
    let project = searched(false);
    assert_snapshot!(project.succeed(&["report"]));
    // This run was stored without a configuration, and so without a problem to measure.
    let words = project.fail(2, &["report", "--measure"]);
    assert!(words.contains("unexpected end of input"), "{words}");
}

#[test]
fn the_report_compares_the_champion_on_fresh_pairs() {
    let project = searched(true);
    assert_snapshot!(project.succeed(&["report", "1", "--out", "report.html"]));
    let page = std::fs::read_to_string(project.path("report.html")).unwrap();
    assert_snapshot!("the_report_as_html", page);
    assert!(!page.contains("<b>") && !page.contains("<script"), "names are escaped");
    assert!(!page.contains("src=") && !page.contains("href="), "it needs nothing else");
    let report: Value = serde_json::from_str(&project.succeed(&["report", "--json"])).unwrap();
    assert_eq!(report["champion"]["number"], 1);
    assert_eq!(report["comparisons"][0]["measured"]["pairs"].as_array().unwrap().len(), 12);
    assert!(report["comparisons"][1]["measured"].is_null());
    assert!(report["alarm"].as_str().unwrap().starts_with("REDUCED SANDBOX"));
}

#[test]
fn the_report_of_a_command_problem_pairs_nothing() {
    let project = Project::new("");
    project.succeed(&["run", "--iterations", "40"]);
    let text = project.succeed(&["report"]);
    assert!(text.contains("champion: program 1/") && text.contains("in the search: improved"), "{text}");
    assert!(!text.contains("against") && !text.contains("machine"), "{text}");
}

#[test]
fn calibrate_reads_the_configuration_first() {
    let project = Project::new("");
    project.write("config.yaml", "problem: nowhere\n");
    assert_eq!(project.run(&["calibrate"]).status.code(), Some(2));
    assert_eq!(project.run(&["calibrate", "--trials", "3"]).status.code(), Some(2));
}
