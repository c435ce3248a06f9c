//! `evolve doctor --endpoint`: one small request to each model, and what it tells of reachability, TLS, key, model and streaming.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;

use std::net::TcpListener;
use std::time::Duration;

use common::endpoint::{Act, Endpoint, completion, error, json_response, stream_end, stream_of, streamed};
use common::{Project, text};
use serde_json::{Value, json};

const KEY: &str = "sk-very-secret-key";

fn project(base: &str, more: &str) -> Project {
    let project = Project::new("");
    let text = format!(
        "problem: problem\nllm:\n  api_base: {base}\n  api_key: ${{A_KEY}}\n  timeout: 3\n  retries: 2\n  retry_delay: 0.01\n  \
         max_tokens: 50\n  models: [{{ name: some-model, price: {{ input: 1.0, output: 2.0 }} }}]\n{more}"
    );
    project.write("config.yaml", &text);
    project
}

/// The exit code, and all words: what was found, and what was said before.
fn doctor(project: &Project, arguments: &[&str]) -> (i32, String, String) {
    let arguments = [&["doctor"], arguments].concat();
    let output = project.command(&arguments).env("A_KEY", KEY).output().unwrap();
    let (found, said) = (text(&output.stdout), text(&output.stderr));
    assert!(!found.contains(KEY) && !said.contains(KEY), "{found}\n{said}");
    (output.status.code().unwrap(), found, said)
}

fn asked(project: &Project) -> (i32, String, String) {
    doctor(project, &["--endpoint"])
}

#[test]
fn a_working_endpoint_is_asked_once_and_told_with_its_cost() {
    let endpoint = Endpoint::start(|_, _| streamed("yes"));
    let project = project(&endpoint.base, "");
    let (code, found, _) = doctor(&project, &[]);
    assert!(code == 0 && found.contains("(not asked: `--endpoint` does)"), "{found}");
    assert_eq!(endpoint.count(), 0, "without the flag nobody is asked");
    let (code, found, said) = asked(&project);
    assert_eq!(code, 0, "{found}");
    assert_eq!(endpoint.count(), 1);
    for words in [
        "ok    endpoint       some-model at http://127.0.0.1",
        "reachable: yes",
        "TLS: none: http",
        "key: not refused",
        "model: known",
        "answer: \"yes\"",
        "streaming: yes, and tokens are counted",
        "cost: 1 request, 100 tokens sent, 20 received: 0.0001400 USD",
    ] {
        assert!(found.contains(words), "{words}: {found}");
    }
    // Before it asks, it says so, and what that may cost.
    assert!(said.starts_with("asking some-model at http://127.0.0.1"), "{said}");
    assert!(said.contains("one request") && said.contains("at most 50 tokens"), "{said}");
    assert!(said.contains("at most 0.000") && said.contains(" USD"), "{said}");
    let body = &endpoint.asked()[0].body;
    assert_eq!((&body["max_tokens"], &body["stream"]), (&json!(50), &json!(true)), "a search's own settings");
    assert!(body.to_string().len() < 600, "{body}");
}

#[test]
fn every_model_is_asked_once() {
    let endpoint = Endpoint::start(|_, asked| match asked.body["model"].as_str() {
        Some("known") => streamed("yes"),
        _ => error(404, "The model `strange` does not exist", "model_not_found"),
    });
    let project = project(&endpoint.base, "");
    let config = std::fs::read_to_string(project.path("config.yaml")).unwrap();
    let models = "models: [{ name: known }, { name: strange }]";
    let (before, _) = config.split_once("models:").unwrap();
    project.write("config.yaml", &format!("{before}{models}\n"));
    let (code, found, said) = asked(&project);
    assert_eq!((code, endpoint.count()), (3, 2), "{found}");
    assert!(
        found.contains("ok    endpoint       known at") && found.contains("no price is known"),
        "{found}"
    );
    assert!(found.contains("FAIL  endpoint       strange at"), "{found}");
    assert_eq!(said.matches("asking ").count(), 2, "{said}");
}

/// What an endpoint does, the exit code, what is told of it, and how many requests it took.
type Case = (&'static str, Act, i32, &'static [&'static str], usize);

#[test]
fn what_does_not_work_is_told_in_plain_words_with_advice() {
    let cases: Vec<Case> = vec![
        (
            "key",
            error(401, &format!("Incorrect API key provided: {KEY}"), "invalid_api_key"),
            3,
            &[
                "reachable: yes",
                "FAILED key: the key is not accepted: HTTP 401",
                "hint: check llm.api_key",
                "most likely nothing",
            ],
            1,
        ),
        (
            "model",
            error(404, "The model `some-model` does not exist", "model_not_found"),
            3,
            &[
                "key: not refused",
                "doesn't know the model `some-model`",
                "hint: correct its name in llm.models",
            ],
            1,
        ),
        (
            "path",
            json_response(404, &json!({"detail": "Not Found"})),
            3,
            &["nothing answers chat completions at", "hint: correct llm.api_base"],
            1,
        ),
        ("credit", error(402, "no credit", "x"), 3, &["FAILED credit: HTTP 402", "hint: add credit"], 1),
        ("busy", error(503, "overloaded", "x"), 3, &["FAILED answer: HTTP 503", "hint: if it is busy"], 1),
        (
            "hang",
            Act::SendAndHang(Vec::new()),
            3,
            &["a connection is made", "FAILED answer: no answer within 3s"],
            1,
        ),
        ("reset", Act::Reset, 3, &["FAILED answer: the connection broke"], 1),
        ("whole", completion("yes"), 0, &["answer: \"yes\"", "streaming: no: answers come whole"], 1),
        (
            "cut off",
            Act::Send(vec![(Duration::ZERO, stream_of("yes"))]),
            3,
            &["FAILED answer: the connection broke: the stream ended before the answer did"],
            1,
        ),
        (
            "terminal codes",
            Act::Send(vec![(Duration::ZERO, [stream_of("\u{1b}[2Jyes"), stream_end()].concat())]),
            0,
            &["model: known"],
            1,
        ),
    ];
    for (name, act, expected, words, requests) in cases {
        let endpoint = Endpoint::start(move |_, _| act.clone());
        let (code, found, _) = asked(&project(&endpoint.base, ""));
        assert_eq!((code, endpoint.count()), (expected, requests), "{name}: {found}");
        for words in words {
            assert!(found.contains(words), "{name}: {words}: {found}");
        }
        assert!(!found.contains('\u{1b}'), "{name}");
    }
}

#[test]
fn an_endpoint_that_refuses_to_stream_is_asked_more_plainly() {
    let endpoint = Endpoint::start(|_, asked| match asked.body.get("stream") {
        Some(_) => error(400, "stream is not supported", "unsupported_parameter"),
        None => completion("yes"),
    });
    let (code, found, _) = asked(&project(&endpoint.base, ""));
    assert_eq!((code, endpoint.count()), (0, 3), "{found}");
    assert!(found.contains("streaming: no (HTTP 400: stream is not supported)"), "{found}");
    assert!(found.contains("cost: 3 requests, 100 tokens sent"), "{found}");
}

#[test]
fn nobody_there_and_no_tls_there_are_told_apart() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (code, found, _) = asked(&project(&format!("http://127.0.0.1:{port}/v1"), ""));
    assert_eq!(code, 3, "{found}");
    assert!(found.contains("FAILED reachable: no connection to 127.0.0.1"), "{found}");
    assert!(found.contains("start the local server") && !found.contains("key:"), "{found}");
    let plain = Endpoint::start(|_, _| streamed("yes"));
    let (code, found, _) = asked(&project(&plain.base.replace("http:", "https:"), ""));
    assert_eq!(code, 3, "{found}");
    assert!(found.contains("FAILED TLS: ") && found.contains("the right scheme"), "{found}");
    let (code, found, _) = asked(&project("http://nowhere.invalid/v1", ""));
    assert_eq!(code, 3, "{found}");
    assert!(found.contains("FAILED reachable: the name nowhere.invalid can't be looked up"), "{found}");
}

#[test]
fn what_a_budget_does_not_allow_is_not_asked() {
    let endpoint = Endpoint::start(|_, _| streamed("yes"));
    let project = project(&endpoint.base, "  max_cost: 0.00001\n");
    let (code, found, _) = asked(&project);
    assert_eq!((code, endpoint.count()), (0, 0), "{found}");
    assert!(found.contains("note  endpoint       some-model at"), "{found}");
    assert!(found.contains("cost: nothing was asked: of llm.max_cost"), "{found}");
}

#[test]
fn without_a_model_nobody_is_asked_and_json_says_the_same() {
    let (code, found, said) = asked(&Project::new(""));
    assert!(code == 0 && found.contains("note  endpoint       no model is configured"), "{found}");
    assert_eq!(said, "");
    let endpoint = Endpoint::start(|_, _| error(401, "no", "x"));
    let (code, found, _) = doctor(&project(&endpoint.base, ""), &["--endpoint", "--json"]);
    let findings: Vec<Value> = serde_json::from_str(&found).unwrap();
    let last = findings.last().unwrap();
    assert_eq!((code, &last["subject"], &last["state"]), (3, &json!("endpoint"), &json!("fail")));
    assert!(last["detail"].as_str().unwrap().contains("FAILED key: "), "{last}");
}

#[test]
fn a_folder_of_openevolves_is_looked_at_too() {
    let endpoint = Endpoint::start(|_, _| streamed("yes"));
    let project = Project::new("");
    let config = format!(
        "llm: {{ primary_model: their-model, api_base: \"{}\", api_key: \"${{A_KEY}}\" }}\n",
        endpoint.base
    );
    project.write("theirs/config.yaml", &config);
    project.write("theirs/initial_program.py", "# EVOLVE-BLOCK-START\nx = 1\n# EVOLVE-BLOCK-END\n");
    project.write("theirs/evaluator.py", "def evaluate(path):\n    return {'combined_score': 1.0}\n");
    let (code, found, _) = doctor(&project, &["theirs", "--endpoint"]);
    assert_eq!((code, endpoint.count()), (0, 1), "{found}");
    assert!(found.contains("ok    evaluator") && found.contains("; Python 3."), "{found}");
    assert!(found.contains("ok    endpoint       their-model at"), "{found}");
    assert!(endpoint.asked()[0].head.to_lowercase().contains(&format!("authorization: bearer {KEY}")));
    let (code, found, _) = doctor(&project, &["problem"]);
    assert!(
        code == 1 && found.contains("FAIL  configuration") && found.contains("name the files"),
        "{found}"
    );
}

#[test]
fn what_is_broken_here_goes_before_what_is_broken_there() {
    let endpoint = Endpoint::start(|_, _| error(401, "no", "x"));
    let project = project(&endpoint.base, "database: foreign.db\n");
    project.write("foreign.db", "this is no database");
    let (code, found, _) = asked(&project);
    assert_eq!(code, 1, "{found}");
    assert!(found.contains("FAIL  database") && found.contains("FAIL  endpoint"), "{found}");
}
