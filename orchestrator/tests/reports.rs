//! What people are shown of the statistics: verdicts with their grounds, the final report, the drawings.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::Project;
use common::stored::{START, judgement, looks, noise, paired, searched, trial, trials};
use insta::assert_snapshot;
use orchestrator::plot::{self, Strip};
use orchestrator::report::calibration::{Ambient, Calibration, Noise, warnings};
use orchestrator::report::judgement::Judgement;
use orchestrator::report::trace::{Promotion, Trace};
use orchestrator::report::{decisions, pairs};
use program_db::{ReferenceTrial, Trial};
use search::ProgramId;
use serde_json::Value;

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
    let (head, rest) = page.split_once("<style>").unwrap();
    let (style, body) = rest.split_once("</style>").unwrap();
    assert!(!style.contains("url(") && !style.contains("@import"), "the style needs nothing else");
    assert_snapshot!(
        "the_report_as_html",
        format!("{head}{body}").replace("</tr>", "</tr>\n").replace("<section", "\n<section")
    );
    assert!(!page.contains("<b>") && !page.contains("<script"), "names are escaped");
    assert!(!page.contains("src=") && !page.contains("href="), "it needs nothing else");
    let report: Value = serde_json::from_str(&project.succeed(&["report", "--json"])).unwrap();
    assert_eq!(report["champion"]["number"], 1);
    assert_eq!(report["comparisons"][0]["measured"]["pairs"].as_array().unwrap().len(), 12);
    assert!(report["comparisons"][1]["measured"].is_null());
    assert!(report["alarm"].as_str().unwrap().starts_with("REDUCED SANDBOX"));
    assert_eq!(report["course"]["steps"][1]["number"], 1);
    assert_eq!(report["course"]["makers"][0]["operator"], "matmul-packed");
    assert_snapshot!("the_report_as_markdown", project.succeed(&["report", "--format", "md"]));
    project.succeed(&["report", "--format", "json", "--out", "report.json"]);
    let written: Value =
        serde_json::from_str(&std::fs::read_to_string(project.path("report.json")).unwrap()).unwrap();
    assert_eq!(written, report);
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
