//! A search with `race-confirm` on real kernels: what is stored, what a kill costs, and how the champion is compared in the end.
//! Needs the MLX harness, as `make test` builds it.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use common::{Project, text};
use serde_json::{Value, json};

/// A project that evolves the attack suite's small kernel problem, with a model just large enough that unpacking its weights
/// shows in the memory; its replies are `blocks`.
fn project(blocks: &[String]) -> Project {
    let project = Project::new("");
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../evaluator/attacks/problem-kernel");
    let read = |name: &str| std::fs::read_to_string(suite.join(name)).unwrap();
    let (initial, settings) = (read("initial.rs"), read("problem.yaml"));
    let larger = settings
        .replace("hidden_size: 64", "hidden_size: 128")
        .replace("intermediate_size: 128", "intermediate_size: 512")
        .replace("iterations: 10", "iterations: 5");
    project.write("kernel/problem.yaml", &larger);
    project.write("kernel/initial.rs", &initial);
    project.write("kernel/instructions.jsonl", &read("instructions.jsonl"));
    let (head, rest) = initial.split_once("EVOLVE-BLOCK-START\n").unwrap();
    let (_, tail) = rest.split_once("// EVOLVE-BLOCK-END").unwrap();
    let reply = |block: &String| {
        let program = format!("{head}EVOLVE-BLOCK-START\n{block}\n// EVOLVE-BLOCK-END{tail}");
        json!({"reply": format!("```rust\n{program}```")}).to_string()
    };
    let replies: Vec<String> = blocks.iter().map(reply).collect();
    project.write("replies.jsonl", &replies.join("\n"));
    project.write(
        "config.yaml",
        &format!(
            "problem: kernel\nproposer: {{replay: replies.jsonl}}\nmax_iterations: {}\nlookahead: 1\n",
            blocks.len()
        ),
    );
    project
}

/// A kernel whose frozen part is `frozen`, with a name of its own, so that none is another's duplicate.
fn kernel(name: &str, frozen: &str) -> String {
    format!(
        "struct QuantizedLora {{ {name}: QuantizedWeight, bias: Option<Array>, scale: f32 }}
impl QuantizedLora {{
    fn new(layer: &Layer, {name}: &QuantizedWeight) -> Result<Self> {{
        Ok(Self {{ {name}: {name}.clone(), bias: layer.bias.clone(), scale: layer.scale }})
    }}
}}
impl Kernel for QuantizedLora {{
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {{
        let mut y = {};
        if let Some(bias) = &self.bias {{
            y = y.add(bias)?;
        }}
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }}
}}",
        frozen.replace("WEIGHT", &format!("self.{name}"))
    )
}

const UNPACKED: &str = "x.matmul(&WEIGHT.dequantize()?.t()?)?";
const PACKED: &str = "WEIGHT.matmul(x)?";

fn number(row: &Value, column: &str) -> i64 {
    row[column].as_i64().unwrap_or_else(|| panic!("no {column} in {row}"))
}

#[test]
fn every_trial_and_look_is_stored_and_a_killed_search_goes_on_with_what_it_knew() {
    let project = project(&[kernel("one", UNPACKED), kernel("two", UNPACKED), kernel("three", UNPACKED)]);
    // Killed as soon as the second candidate is reported: the third has begun or is about to.
    let mut evolve = project
        .command(&["run", "--config", "config.yaml", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for line in BufReader::new(evolve.stdout.take().unwrap()).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if event["event"] == "finished" && event["number"] == 2 {
            evolve.kill().unwrap();
            break;
        }
    }
    evolve.wait().unwrap();
    project.succeed(&["resume"]);

    let trials = project.sql(
        "select number, trial_number, stage, arm, load, metrics from trial join evaluation on id = evaluation_id
         where purpose = 'search' order by evaluation_id, idx",
    );
    let numbers: Vec<i64> = trials.iter().map(|trial| number(trial, "trial_number")).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    let calibrations: Vec<&Value> = trials.iter().filter(|trial| trial["stage"] == "calibration").collect();
    assert_eq!(calibrations.len(), 6, "the machine's noise is measured once in a run: {trials:#?}");
    assert!(calibrations.iter().all(|trial| trial["number"] == 0), "before the first candidate");
    if cfg!(target_os = "linux") {
        assert!(trials.iter().all(|trial| trial["load"].is_number()));
    }
    let mut with_numbers = 0;
    for candidate in 1..=3 {
        let looks = project.sql(&format!(
            "select look, metric, sigma, mean, action, reason from decision join evaluation on id = evaluation_id
             where number = {candidate} and stage = 'screen'"
        ));
        assert!(!looks.is_empty() && looks.iter().all(|look| look["reason"] != ""), "{candidate}: {looks:?}");
        // A trial that a busy machine slows down too much is a look at no metric.
        with_numbers +=
            looks.iter().filter(|look| look["sigma"].is_number() && look["mean"].is_number()).count();
        let protocol = project.sql(&format!(
            "select protocol, parameters ->> '$.max_pairs' as pairs from evaluation where number = {candidate}"
        ));
        assert_eq!(
            (protocol[0]["protocol"].as_str(), number(&protocol[0], "pairs")),
            (Some("race-confirm"), 24)
        );
    }
    assert!(with_numbers >= 2, "no candidate was looked at in both metrics");
}

#[test]
fn a_champion_is_compared_with_the_initial_program_and_with_mlx_lm_on_fresh_seeds() {
    let project = project(&[kernel("one", PACKED)]);
    let output = project.run(&["run", "--config", "config.yaml"]);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    // With a big model that takes minutes, and nobody should wonder whether anything happens.
    assert!(stderr.starts_with("preparing "), "{stderr}");
    assert!(stdout.contains("verdict: improved"), "{stdout}\n{stderr}");
    let comparisons = project.sql(
        "select opponent, judgement ->> '$.effects[1].change' as memory, judgement ->> '$.effects[1].interval[0]' as low,
                judgement ->> '$.loss.holds' as loss, count(*) as trials, count(distinct seed) as seeds
         from evaluation join trial on evaluation_id = id where purpose = 'comparison' group by id order by id",
    );
    let opponents: Vec<&str> = comparisons.iter().map(|row| row["opponent"].as_str().unwrap()).collect();
    assert_eq!(opponents, ["baseline", "mlx_lm"], "{comparisons:?}\n{stderr}");
    for row in &comparisons {
        assert!(number(row, "trials") >= 24 && number(row, "seeds") >= 12, "{row}");
        assert_eq!(number(row, "loss"), 1, "{row}");
    }
    // The baseline unpacks the whole weight, which memory shows whatever the machine is doing.
    assert!(comparisons[0]["low"].as_f64().unwrap() > 0.02, "{comparisons:?}");
    let of_the_search = project.sql(
        "select count(*) as n from trial a join evaluation on id = a.evaluation_id join trial b on a.seed = b.seed
         where purpose = 'comparison' and a.evaluation_id <> b.evaluation_id",
    );
    assert_eq!(number(&of_the_search[0], "n"), 0, "a comparison's seeds are its own");
    // A finished run compares nobody twice.
    project.succeed(&["resume"]);
    let again = project.sql("select count(*) as n from evaluation where purpose = 'comparison'");
    assert_eq!(number(&again[0], "n"), 2);
}

#[test]
fn what_the_end_of_a_run_left_out_is_measured_for_the_report_when_asked_for() {
    let project = project(&[kernel("one", PACKED)]);
    let settings = std::fs::read_to_string(project.path("config.yaml")).unwrap();
    project.write("config.yaml", &format!("{settings}final_report: false\n"));
    project.succeed(&["run", "--config", "config.yaml"]);
    let compared = || project.sql("select count(*) as n from evaluation where purpose = 'comparison'");
    assert_eq!(number(&compared()[0], "n"), 0);
    assert!(project.succeed(&["report"]).contains("not measured yet"));
    let report = project.succeed(&["report", "--measure", "--out", "report.html"]);
    assert_eq!(number(&compared()[0], "n"), 2, "{report}");
    assert!(report.contains("12 pairs") && !report.contains("not measured yet"), "{report}");
    let page = std::fs::read_to_string(project.path("report.html")).unwrap();
    assert!(page.matches("<svg").count() >= 3, "two comparisons' pairs, and the reference over the run");
    // Once is enough.
    project.succeed(&["report", "--measure"]);
    assert_eq!(number(&compared()[0], "n"), 2);
}

#[test]
fn a_calibration_says_what_this_machine_can_tell_apart() {
    let project = project(&[]);
    let words = project.succeed(&["calibrate", "--trials", "6"]);
    for expected in ["6 trials", "noise", "drift", "detectable effect", "advice: "] {
        assert!(words.contains(expected), "{expected} is missing in:\n{words}");
    }
    let words = Project::new("").fail(2, &["calibrate"]);
    assert!(words.contains("is a command problem"), "{words}");
}
