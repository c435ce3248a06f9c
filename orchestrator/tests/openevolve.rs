//! OpenEvolve's folders and calls, as they are.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use common::{Project, text};
use insta::assert_snapshot;
use serde_json::{Value, json};

const PROGRAM: &str =
    "# find x\n# EVOLVE-BLOCK-START\nx = 10\ny = 3\n# EVOLVE-BLOCK-END\n\ndef answer():\n    return x\n";

/// As OpenEvolve's users write them: the class comes from the package, which isn't installed here.
const EVALUATOR: &str = "
import importlib.util
from openevolve.evaluation_result import EvaluationResult

def evaluate(program_path):
    spec = importlib.util.spec_from_file_location('program', program_path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    x = program.answer()
    score = 1 / (1 + abs(x - 100) / 100)
    return EvaluationResult(metrics={'combined_score': score, 'x': float(x)}, artifacts={'note': 'x is %s' % x})
";

const CONFIG: &str = "max_iterations: 12\ncheckpoint_interval: 5\nllm: { primary_model: some-model }\n\
                      prompt: { system_message: Find the best x. }\n\
                      database: { num_islands: 2, population_size: 40, exploitation_ratio: 0.6 }\n\
                      evaluator: { timeout: 20, parallel_evaluations: 2, cascade_evaluation: false }\n";

/// A folder as it is found beside OpenEvolve.
fn folder() -> Project {
    let project = Project::new("");
    project.write("config.yaml", CONFIG);
    project.write("initial_program.py", PROGRAM);
    project.write("evaluator.py", EVALUATOR);
    project
}

const CALL: [&str; 5] = ["run", "initial_program.py", "evaluator.py", "--config", "config.yaml"];

fn call<'a>(more: &[&'a str]) -> Vec<&'a str> {
    CALL.iter().chain(more).copied().collect()
}

fn read_json(path: PathBuf) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn openevolves_call_runs_its_folder_and_leaves_what_its_users_look_for() {
    let project = folder();
    let output = project.run(&call(&["--proposer", "rewrite"]));
    let words = project.anonymous(&text(&output.stderr));
    assert!(output.status.success(), "{words}");
    assert!(
        words.contains("another or none") && words.contains("checkpoint_interval: nothing to set"),
        "{words}"
    );
    let database = "openevolve_output/evolve.db";
    let best = project.succeed(&["best", "--db", database]);
    assert_eq!(
        std::fs::read_to_string(project.path("openevolve_output/best/best_program.py")).unwrap(),
        best
    );
    let info = read_json(project.path("openevolve_output/best/best_program_info.json"));
    let first: f64 = 1.0 / (1.0 + 0.9);
    assert!(info["metrics"]["combined_score"].as_f64().unwrap() > first, "{info}");
    assert_eq!(info["score"], info["metrics"]["combined_score"]);
    let artifacts = project.succeed(&["show", "0", "--db", database]);
    assert!(artifacts.contains("note:\nx is 10"), "{artifacts}");
    // The database is found without being named, and the run goes on from what it holds alone.
    assert!(project.succeed(&["runs"]).contains("1 row"));
    project.succeed(&["resume", "--iterations", "14"]);
    let outcomes = project.sql("select count(*) as n from outcome");
    assert_eq!(outcomes[0]["n"], 15);
}

#[test]
fn a_folder_alone_runs_and_what_is_named_wrongly_says_how_to() {
    let project = folder();
    project.succeed(&["run", ".", "--proposer", "rewrite", "-i", "2"]);
    let rows = project.sql("select count(*) as n from outcome");
    assert_eq!(rows[0]["n"], 3);
    let words = project.fail(2, &["run", ".", "evaluator.py", "--proposer", "rewrite"]);
    assert!(
        words.contains("the initial program is a folder") && words.contains("evolve run FOLDER"),
        "{words}"
    );
    let words = project.fail(2, &["run", "initial_program.py"]);
    assert!(words.contains("its evaluator isn't named"), "{words}");
    std::fs::remove_file(project.path("evaluator.py")).unwrap();
    let words = project.fail(2, &["run", "."]);
    assert!(words.contains("there is no `evaluator.*` in it"), "{words}");
    let words = project.fail(2, &["evaluate", "initial_program.py", "--allow-network"]);
    assert!(words.contains("where EVALUATOR is named"), "{words}");
}

#[test]
fn a_second_call_is_another_run_and_resume_goes_on_with_the_first() {
    let project = folder();
    project.succeed(&call(&["--proposer", "rewrite", "-i", "3", "-o", "results"]));
    let words = text(&project.run(&call(&["--proposer", "rewrite", "-i", "3", "-o", "results"])).stderr);
    assert!(words.contains("has run 1 already, which stays as it is"), "{words}");
    project.succeed(&call(&["--proposer", "rewrite", "-i", "5", "-o", "results", "--resume"]));
    let rows = project.succeed(&[
        "query",
        "--db",
        "results/evolve.db",
        "--format",
        "json",
        "--sql",
        "select run_id, count(*) as n from outcome group by run_id order by run_id",
    ]);
    let rows: Value = serde_json::from_str(&rows).unwrap();
    assert_eq!(rows, json!([{"run_id": 1, "n": 4}, {"run_id": 2, "n": 6}]));
}

#[test]
fn a_call_without_model_or_key_says_what_to_do() {
    let project = folder();
    assert_snapshot!(project.fail(2, &call(&[])));
    project.write("config.yaml", "max_iterations: 3\n");
    assert_snapshot!(project.fail(2, &call(&[])));
    project.write("config.yaml", "llm: { primary_model: sonnet, provider: claude_code }\n");
    assert_snapshot!(project.fail(2, &call(&[])));
}

#[test]
fn wrong_calls_and_configurations_are_told_with_the_right_ones() {
    let project = folder();
    let mut said = String::new();
    let mut say = |title: &str, arguments: &[&str]| {
        said.push_str(&format!("{title}\n{}\n", project.fail(2, arguments)));
    };
    for config in [
        "max_iteration: 3",
        "database:\n  num_ilands: 3",
        "databse:\n  num_islands: 3",
        "num_islands: 3",
        "max_iterations: many",
        "llm:\n  temperature: hot\n  primary_model: m",
        "evaluator:\n  cascade_thresholds: 0.5",
        "evaluator: { timeout: 0 }",
        "evaluator: { cascade_thresholds: [] }",
        "database: { num_islands: 0 }",
        "database: { exploration_ratio: 2 }",
        "database: { feature_dimensions: [] }",
        "llm: { models: [{ weight: 1 }] }",
        "problem: there",
        "just words",
        "a: [",
    ] {
        project.write("wrong.yaml", config);
        let arguments =
            ["run", "initial_program.py", "evaluator.py", "-c", "wrong.yaml", "--proposer", "rewrite,llm"];
        say(config, &arguments);
    }
    say("the configuration without the call", &["run", "--config", "config.yaml"]);
    say("a program that isn't there", &["run", "initial_progam.py", "evaluator.py"]);
    say("an evaluator that isn't there", &["run", "initial_program.py", "evaluater.py"]);
    say("no such checkpoint", &call(&["--checkpoint", "."]));
    say("an evaluator is missing", &["run", "initial_program.py"]);
    say("a level that isn't one", &call(&["--log-level", "LOUD"]));
    assert_snapshot!(said);
}

#[test]
fn every_key_of_openevolves_is_accepted_and_what_differs_is_said_once() {
    let project = folder();
    project.write("all.yaml", include_str!("data/openevolve-all-keys.yaml"));
    let arguments =
        ["run", "initial_program.py", "evaluator.py", "-c", "all.yaml", "-i", "1", "--proposer", "rewrite"];
    let output = project.run(&arguments);
    let words = text(&output.stderr);
    assert!(output.status.success(), "{words}");
    let block = words.split("\nrun 1 starts").next().unwrap();
    assert_snapshot!(block);
}

/// A model that changes x to 60, whatever it is asked.
async fn model() -> wiremock::MockServer {
    let server = wiremock::MockServer::start().await;
    let reply = "Better.\n<<<<<<< SEARCH\nx = 10\n=======\nx = 60\n>>>>>>> REPLACE\n";
    let body = json!({
        "id": "1", "object": "chat.completion", "created": 1, "model": "some-model",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": reply}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    });
    wiremock::Mock::given(wiremock::matchers::method("POST"))
        .respond_with(wiremock::ResponseTemplate::new(200).set_body_json(body))
        .mount(&server)
        .await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_asked_with_the_files_system_message_and_the_openai_key() {
    let server = model().await;
    let project = folder();
    let base = format!("{}/v1", server.uri());
    let arguments = call(&["-i", "1", "--api-base", &base, "--primary-model", "another-model"]);
    let output =
        project.command(&arguments).env("OPENAI_API_KEY", "sk-from-the-environment").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let asked = server.received_requests().await.unwrap();
    let first = String::from_utf8_lossy(&asked[0].body).into_owned();
    assert!(first.contains("Find the best x.") && first.contains("another-model"), "{first}");
    assert_eq!(asked[0].headers["authorization"], "Bearer sk-from-the-environment");
    let best = std::fs::read_to_string(project.path("openevolve_output/best/best_program.py")).unwrap();
    assert!(best.contains("x = 60"), "{best}");
    // What is kept can be gone on with, and knows no key.
    let kept = std::fs::read(project.path("openevolve_output/evolve.db")).unwrap();
    assert!(!kept.windows(11).any(|bytes| bytes == b"sk-from-the"));
    let output =
        project.command(&["resume", "-i", "2"]).env("OPENAI_API_KEY", "sk-another").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_show_of_artifacts_what_the_file_says() {
    let server = model().await;
    let base = format!("{}/v1", server.uri());
    let long = "'note': 'begin' + 'x' * 40000 + 'end'";
    let evaluator = EVALUATOR.replace("'note': 'x is %s' % x", long);
    for (prompt, expected) in [
        // There the default is 20 KiB.
        ("{ num_top_programs: 1 }", 20 << 10),
        ("{ include_artifacts: true, max_artifact_bytes: 500 }", 500),
        ("{ max_artifact_bytes: 100000 }", 32 << 10),
        ("{ include_artifacts: false }", 0),
        ("{ include_artifacts: true, max_artifact_bytes: 0 }", 0),
    ] {
        let project = folder();
        project.write("evaluator.py", &evaluator);
        project.write(
            "config.yaml",
            &format!(
                "{}prompt: {prompt}\n",
                CONFIG.replace("prompt: { system_message: Find the best x. }\n", "")
            ),
        );
        let before = server.received_requests().await.unwrap().len();
        let output = project.command(&call(&["-i", "1", "--api-base", &base])).output().unwrap();
        let words = text(&output.stderr);
        assert!(output.status.success(), "{words}");
        assert_eq!(
            words.contains("prompt.max_artifact_bytes: 100000 is more than"),
            prompt.contains("100000"),
            "{words}"
        );
        let asked =
            String::from_utf8_lossy(&server.received_requests().await.unwrap()[before].body).into_owned();
        let shown: usize = asked.split(|c| c != 'x').map(str::len).filter(|length| *length > 9).sum();
        assert!(shown <= expected && shown + 100 >= expected, "{prompt}: {shown} bytes are shown");
        assert_eq!(asked.contains("`note`"), expected > 0, "{asked}");
        assert_eq!(asked.contains("beginx") && asked.contains("xend"), expected > 0, "{asked}");
    }
}

#[test]
fn a_program_without_markers_changes_as_a_whole() {
    let project = folder();
    project.write("initial_program.py", "x = 10\n\ndef answer():\n    return x\n");
    project.succeed(&call(&["--proposer", "rewrite"]));
    let best = std::fs::read_to_string(project.path("openevolve_output/best/best_program.py")).unwrap();
    assert!(!best.contains("EVOLVE-BLOCK") && !best.contains("x = 10\n"), "{best}");
}

#[test]
fn an_evaluator_may_be_any_executable_that_prints_json() {
    let project = folder();
    project.write(
        "judge.sh",
        "#!/bin/sh\nawk '/^x = / { d = $3 - 100; if (d < 0) d = -d; printf \"{\\\"combined_score\\\": %.6f}\\n\", 1 / (1 + d / 100) }' \"$1\"\n",
    );
    std::fs::set_permissions(project.path("judge.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let report = project.succeed(&["evaluate", "initial_program.py", "judge.sh", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!((report["outcome"]["score"].as_f64().unwrap() - 1.0 / 1.9).abs() < 1e-5, "{report}");
}

#[test]
fn an_evaluator_sees_of_the_environment_only_what_is_passed_on() {
    let project = folder();
    project.write(
        "evaluator.py",
        "import os\ndef evaluate(path):\n    return {'combined_score': 1.0, 'seen': os.environ.get('WANTED', 'nothing')}\n",
    );
    let seen = |more: &[&str]| {
        let arguments = [&["evaluate", "initial_program.py", "evaluator.py"], more].concat();
        let output = project.command(&arguments).env("WANTED", "a value").output().unwrap();
        text(&output.stdout)
    };
    assert!(seen(&[]).contains("seen:\n  nothing"), "{}", seen(&[]));
    assert!(seen(&["--pass-env", "WANTED"]).contains("seen:\n  a value"));
}

#[test]
fn only_warnings_are_said_where_openevolve_would_say_no_more() {
    let project = folder();
    let output = project.run(&call(&["--proposer", "rewrite", "-i", "2", "--log-level", "error"]));
    let words = text(&output.stderr);
    assert!(!words.contains("program 1: ") && words.contains("checkpoint_interval"), "{words}");
}
