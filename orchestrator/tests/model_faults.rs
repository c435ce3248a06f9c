//! Whole runs against an endpoint that misbehaves on purpose: they survive what they should, stop clearly where they should, lose
//! nothing, and make exactly as many requests as docs/models.md says.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::endpoint::{Act, Endpoint, completion, error, event, json_response, response};
use common::endpoint::{stream_end, stream_of, streamed};
use common::{Project, text};
use serde_json::json;

/// A project whose model is asked for one proposal after the other, with `retries: 2`.
fn project(endpoint: &Endpoint, iterations: u32, more: &str) -> Project {
    let project = Project::new("");
    configure(&project, endpoint, iterations, more);
    project
}

fn configure(project: &Project, endpoint: &Endpoint, iterations: u32, more: &str) {
    let llm = format!(
        "llm:\n  api_base: {}\n  models: [{{ name: m, price: {{ input: 1.0, output: 2.0 }} }}]\n  retries: 2\n  \
         retry_delay: 0.01\n  timeout: 3\n  idle_timeout: 0.3\n  max_tokens: 50\n",
        endpoint.base
    );
    let more: Vec<String> = more.lines().map(|line| format!("  {line}\n")).collect();
    let more = more.concat();
    let text = format!("problem: problem\nmax_iterations: {iterations}\nlookahead: 1\n{llm}{more}");
    project.write("config.yaml", &text);
}

/// Moves x a step nearer to 100 from wherever the prompt's parent has it.
fn edit(step: usize) -> String {
    format!("I raise x.\n<<<<<<< SEARCH\ny = 3\n=======\ny = 3\nx = {}\n>>>>>>> REPLACE\n", 10 + step)
}

fn number(project: &Project, query: &str) -> u64 {
    project.sql(&format!("select ({query}) as n"))[0]["n"].as_u64().unwrap_or(0)
}

/// Nothing is lost: every number up to the last has its proposal and its outcome, and every request is on a row.
fn assert_complete(project: &Project, iterations: u64, endpoint: &Endpoint) {
    assert_eq!(number(project, "select count(*) from proposal where number > 0"), iterations);
    assert_eq!(number(project, "select count(*) from outcome where number > 0"), iterations);
    assert_eq!(number(project, "select sum(requests) from proposal"), endpoint.count() as u64);
}

#[test]
fn a_run_survives_whatever_may_pass_with_one_request_more_for_each() {
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03garbage";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let stream = |bytes: Vec<u8>| Act::Send(vec![(Duration::ZERO, [head.as_bytes(), &bytes].concat())]);
    let faults: Vec<(&str, Act)> = vec![
        ("429 without Retry-After", error(429, "slow down", "rate_limit_exceeded")),
        ("429 with seconds", response(429, &["retry-after: 0.05"], "slow down")),
        ("429 with a date", response(429, &["retry-after: Sun, 06 Nov 1994 08:49:37 GMT"], "slow down")),
        ("500", response(500, &[], "oops")),
        ("502 in HTML", response(502, &["content-type: text/html"], "<html><h1>Bad gateway</h1></html>")),
        ("529", error(529, "overloaded", "overloaded_error")),
        ("connection reset", Act::Reset),
        ("nothing at all", Act::Send(vec![])),
        ("half a header", Act::Send(vec![(Duration::ZERO, b"HTTP/1.1 200 OK\r\ncontent-le".to_vec())])),
        (
            "half a body",
            Act::Send(vec![(
                Duration::ZERO,
                b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"choi".to_vec(),
            )]),
        ),
        ("no HTTP", Act::Send(vec![(Duration::ZERO, b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())])),
        ("wrong JSON", response(200, &["content-type: application/json"], "{\"choices\": [")),
        ("a web page with success", response(200, &["content-type: text/html"], "<html>log in</html>")),
        ("gzip garbage", response(200, &["content-type: application/json", "content-encoding: gzip"], gzip)),
        (
            "an error with success",
            json_response(200, &json!({"error": {"message": "upstream", "code": 503}})),
        ),
        ("a stream that stalls", Act::SendAndHang(stream_of("I was about to "))),
        ("a stream that ends early", stream(event(&json!({"choices": [{"delta": {"content": "I was"}}]})))),
        ("a stream of no JSON", stream(b"data: oops\n\n".to_vec())),
        (
            "a stream with an error in it",
            stream(event(&json!({"error": {"message": "upstream", "code": 500}}))),
        ),
        ("an empty stream", stream(vec![])),
    ];
    let count = faults.len();
    let names: Vec<&str> = faults.iter().map(|(name, _)| *name).collect();
    let acts: Vec<Act> = faults.iter().map(|(_, act)| act.clone()).collect();
    // First an answer, then each fault followed by an answer.
    let endpoint = Endpoint::start(move |n, _| match (n % 2, acts.get(n / 2)) {
        (1, Some(act)) => act.clone(),
        _ if n % 4 == 0 => streamed(&edit(n)),
        _ => completion(&edit(n)),
    });
    let project = project(&endpoint, 1 + count as u32, "");
    project.succeed(&["run"]);
    assert_complete(&project, 1 + count as u64, &endpoint);
    let rows =
        project.sql("select number, requests, kind, reply from proposals where number > 1 order by number");
    for (row, name) in rows.iter().zip(names) {
        assert_eq!(
            (row["requests"].as_u64(), row["kind"].as_str()),
            (Some(2), Some("measured")),
            "{name}: {row}"
        );
    }
    let stalled = rows.iter().find(|row| row["reply"].as_str().unwrap().contains("I was about to"));
    assert!(stalled.is_some(), "the beginning of a stalled answer is kept");
    let estimated =
        number(&project, "select count(*) from proposal where tokens_estimated = 1 and tokens_in > 100");
    assert!(estimated >= 5, "what was probably paid for is counted: {estimated}");
}

#[test]
fn what_is_wrong_with_one_prompt_costs_one_request_and_that_proposal() {
    let filtered = json!({"choices": [{"finish_reason": "content_filter", "message": {"content": "I"}}]});
    let faults: Vec<(&str, Act)> = vec![
        ("no choices", json_response(200, &json!({"choices": []}))),
        ("content filter", json_response(200, &filtered)),
        ("HTTP 400", error(400, "maximum context length is 8192 tokens", "context_length_exceeded")),
        (
            "refused",
            json_response(200, &json!({"choices": [{"message": {"content": null, "refusal": "No."}}]})),
        ),
        ("HTTP 413", response(413, &[], "too large")),
    ];
    let expected: Vec<&str> = faults.iter().map(|(words, _)| *words).collect();
    let acts: Vec<Act> = faults.iter().map(|(_, act)| act.clone()).collect();
    let endpoint = Endpoint::start(move |n, _| match n.checked_sub(1).and_then(|n| acts.get(n)) {
        Some(act) => act.clone(),
        None => completion(&edit(n)),
    });
    let project = project(&endpoint, 7, "");
    project.succeed(&["run"]);
    assert_complete(&project, 7, &endpoint);
    assert_eq!(endpoint.count(), 7);
    let rows = project.sql("select kind, message from outcome where number between 2 and 6 order by number");
    for (row, words) in rows.iter().zip(expected) {
        assert_eq!(row["kind"], "no_proposal", "{row}");
        assert!(row["message"].as_str().unwrap().contains(words), "{words}: {row}");
    }
}

#[test]
fn what_no_retry_mends_stops_the_run_at_once_with_one_clear_message_and_it_goes_on_later() {
    for (act, words) in [
        (error(401, "Incorrect API key provided", "invalid_api_key"), "the key is not accepted"),
        (error(402, "Insufficient balance", "payment"), "add credit"),
        (error(429, "You exceeded your current quota", "insufficient_quota"), "add credit"),
        (response(429, &["retry-after: 7200"], "daily limit"), "7200 s"),
        (error(404, "The model `m` does not exist", "model_not_found"), "doesn't know the model `m`"),
        (response(307, &["location: https://elsewhere.test/v1"], ""), "elsewhere.test"),
        (
            error(400, "Unsupported parameter: 'temperature'", "unsupported_parameter"),
            "doesn't accept a setting",
        ),
    ] {
        let endpoint = Endpoint::start(move |n, _| if n == 2 { act.clone() } else { completion(&edit(n)) });
        let project = project(&endpoint, 4, "");
        let output = project.run(&["run"]);
        let said = text(&output.stderr);
        let code = if words.contains("setting") { 2 } else { 3 };
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words) && said.contains("evolve resume"), "{words}: {said}");
        assert_eq!(said.matches(words).count(), 1, "it is said once: {said}");
        assert_eq!(
            (endpoint.count(), number(&project, "select count(*) from proposal where number > 0")),
            (3, 2)
        );
        let before = project.sql("select number, reply from proposal order by number");
        project.succeed(&["resume"]);
        let after = project.sql("select number, reply from proposal order by number");
        assert!(before.iter().all(|row| after.contains(row)), "a stored reply changed");
        assert_eq!((after.len(), endpoint.count()), (5, 5), "only what was missing is asked for");
    }
}

#[test]
fn who_never_answers_stops_the_run_after_the_requests_of_one_proposal() {
    for act in [response(500, &[], "oops"), Act::Reset, response(200, &[], "<html>")] {
        let endpoint = Endpoint::start(move |_, _| act.clone());
        let project = project(&endpoint, 5, "");
        let said = project.fail(3, &["run"]);
        assert!(said.contains("gives no answer (3 requests)"), "{said}");
        assert_eq!(
            (endpoint.count(), number(&project, "select count(*) from proposal where number > 0")),
            (3, 0)
        );
    }
}

#[test]
fn an_outage_is_waited_for_and_uses_up_no_proposal() {
    let endpoint = Endpoint::start(|n, _| match n {
        2..12 => response(503, &[], "down for maintenance"),
        n => streamed(&edit(n)),
    });
    let project = project(&endpoint, 5, "");
    let output = project.run(&["run"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_complete(&project, 5, &endpoint);
    assert_eq!(endpoint.count(), 5 + 10);
    assert_eq!(number(&project, "select count(*) from outcome where kind = 'no_proposal'"), 0);
    assert!(said.contains("proposals wait for it") && said.contains("answers again"), "{said}");
}

#[test]
fn an_outage_longer_than_one_has_patience_for_stops_the_run_and_loses_nothing() {
    static IS_DOWN: AtomicBool = AtomicBool::new(true);
    let endpoint = Endpoint::start(|n, _| {
        if n >= 2 && IS_DOWN.load(Ordering::SeqCst) { Act::Reset } else { completion(&edit(n)) }
    });
    let project = project(&endpoint, 5, "outage_patience: 0.5");
    let started = Instant::now();
    let said = project.fail(3, &["run"]);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(said.contains("gives no answer") && said.contains("the connection broke"), "{said}");
    assert_eq!(number(&project, "select count(*) from proposal where number > 0"), 2);
    IS_DOWN.store(false, Ordering::SeqCst);
    let before = endpoint.count();
    project.succeed(&["resume"]);
    assert_eq!(
        (number(&project, "select count(*) from outcome where number > 0"), endpoint.count()),
        (5, before + 3)
    );
}

#[test]
fn a_run_stops_cleanly_when_its_money_is_spent_and_goes_on_with_more() {
    let endpoint = Endpoint::start(|n, _| completion(&edit(n)));
    // 100 tokens in and 20 out cost 140 millionths.
    let project = project(&endpoint, 40, "max_cost: 0.002");
    let output = project.run(&["run"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("llm.max_cost is spent") && said.contains("--max-cost"), "{said}");
    assert!(text(&output.stdout).contains(" of 0.002 USD"), "{}", text(&output.stdout));
    let spent =
        |project: &Project| project.sql("select sum(cost) as n from proposal")[0]["n"].as_f64().unwrap();
    let first = endpoint.count() as u64;
    assert!(spent(&project) <= 0.002 && first >= 2, "{} by {first}", spent(&project));
    assert_complete(&project, first, &endpoint);
    // The same budget: not one request more.
    project.succeed(&["resume"]);
    assert_eq!(endpoint.count() as u64, first);
    project.succeed(&["resume", "--max-cost", "0.004"]);
    let second = endpoint.count() as u64;
    assert!(
        spent(&project) > 0.002 && spent(&project) <= 0.004 && second < 40,
        "{} by {second}",
        spent(&project)
    );
    assert_complete(&project, second, &endpoint);
    project.succeed(&["resume", "--max-cost", "0.02", "--max-total-tokens", "1000000"]);
    assert_complete(&project, 40, &endpoint);
}

#[test]
fn tokens_are_a_budget_too_with_many_requests_under_way() {
    let endpoint = Endpoint::start(|n, _| {
        std::thread::sleep(Duration::from_millis(20));
        completion(&edit(n))
    });
    let project = project(&endpoint, 60, "max_total_tokens: 6000");
    let config = std::fs::read_to_string(project.path("config.yaml")).unwrap();
    project.write("config.yaml", &config.replace("lookahead: 1", "lookahead: 8"));
    project.succeed(&["run"]);
    let tokens = number(&project, "select sum(tokens_in + tokens_out) from proposal");
    assert!((2400..=6000).contains(&tokens), "{tokens}");
    assert_eq!(number(&project, "select sum(requests) from proposal"), endpoint.count() as u64);
    let pending = number(
        &project,
        "select count(*) from proposal p where not exists (select 1 from outcome o where o.number = p.number)",
    );
    let stored = number(&project, "select count(*) from proposal");
    project.succeed(&["resume", "--max-total-tokens", "100000"]);
    assert_complete(&project, 60, &endpoint);
    assert!(pending <= 8, "{pending} of {stored} waited for their evaluation");
}

#[test]
fn a_budget_that_cannot_be_kept_is_refused_before_anything_is_asked() {
    let endpoint = Endpoint::start(|_, _| completion("x"));
    let project = project(&endpoint, 4, "");
    let config = std::fs::read_to_string(project.path("config.yaml")).unwrap();
    project.write("config.yaml", &config.replace(", price: { input: 1.0, output: 2.0 }", ""));
    let said = project.fail(2, &["run", "--max-cost", "1"]);
    assert!(said.contains("no price in USD is known of the model `m`"), "{said}");
    project.write("prices.yaml", "currency: USD\nendpoints: [{ models: { m: { input: 1, output: 2 } } }]\n");
    let priced = std::fs::read_to_string(project.path("config.yaml")).unwrap();
    project.write("config.yaml", &format!("{priced}  prices: prices.yaml\n"));
    project.succeed(&["run", "--max-cost", "1", "--iterations", "1"]);
    assert_eq!(endpoint.count(), 1);
    project.write("prices.yaml", "currency: USD\nendpoints: [{ models: { m: { input: -1, output: 2 } } }]\n");
    let said = project.fail(2, &["run"]);
    assert!(said.contains("prices.yaml") && said.contains("`m`"), "{said}");
    // Without a budget an unknown price is only said, once.
    project.write("config.yaml", &priced);
    let output = project.run(&["run", "--iterations", "2"]);
    assert_eq!(text(&output.stderr).matches("no price is known of m").count(), 1, "{}", text(&output.stderr));
}

#[test]
fn with_several_endpoints_the_run_goes_on_without_the_broken_one() {
    let broken =
        Endpoint::start(
            |n, _| if n < 2 { completion(&edit(n)) } else { error(401, "revoked", "invalid_api_key") },
        );
    let good = Endpoint::start(|n, _| completion(&edit(50 + n)));
    let project = project(&broken, 12, "");
    let config = std::fs::read_to_string(project.path("config.yaml")).unwrap();
    let models = format!("models: [{{ name: m }}, {{ name: n, api_base: \"{}\" }}]", good.base);
    project.write(
        "config.yaml",
        &config.replace("models: [{ name: m, price: { input: 1.0, output: 2.0 } }]", &models),
    );
    let output = project.run(&["run"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("is not asked any more").count(), 1, "{said}");
    assert_eq!((broken.count(), good.count()), (3, 10));
    assert_eq!(
        number(&project, "select count(*) from outcome where number > 0 and kind <> 'no_proposal'"),
        12
    );
}

#[test]
fn a_recorded_run_is_repeated_without_a_network_and_finds_the_same_programs() {
    let endpoint = Endpoint::start(|n, _| match n {
        3 => response(500, &[], "oops"),
        5 => json_response(200, &json!({"choices": []})),
        n if n % 2 == 0 => streamed(&edit(n / 3)),
        n => completion(&edit(n / 3)),
    });
    let original = project(&endpoint, 12, "api_key: sk-never-in-a-recording");
    let config = std::fs::read_to_string(original.path("config.yaml")).unwrap();
    let config = config.replace("lookahead: 1", "lookahead: 3");
    original.write("config.yaml", &config);
    // In two sessions, and with a seed of its own.
    original.succeed(&["run", "--iterations", "7", "--seed", "7", "--record", "replies.jsonl"]);
    let said = original.fail(2, &["run", "--record", "replies.jsonl"]);
    assert!(said.contains("is there already"), "{said}");
    original.succeed(&[
        "resume",
        "--config",
        "config.yaml",
        "--iterations",
        "12",
        "--record",
        "replies.jsonl",
    ]);
    let query = "select number, parent, code_hash, kind, score, operator, model, reply, tokens_in, tokens_out, cost, requests \
                 from proposals where run = (select max(id) from run) order by number";
    let before = original.sql(query);
    let recording = std::fs::read_to_string(original.path("replies.jsonl")).unwrap();
    assert!(!recording.contains("sk-never"), "{recording}");
    let asked = endpoint.count();

    // Elsewhere: another folder, no key (the variable isn't even set), nobody at the address.
    let copy = Project::new("");
    let offline = config
        .replace("sk-never-in-a-recording", "${NO_SUCH_VARIABLE}")
        .replace(&endpoint.base, "http://127.0.0.1:1/v1");
    copy.write("config.yaml", &offline);
    copy.write("replies.jsonl", &recording);
    copy.succeed(&["run", "--replay", "replies.jsonl"]);
    assert_eq!(copy.sql(query), before);
    assert_eq!(endpoint.count(), asked);

    // The same by the configuration; and a search that is longer than the recording ends with it.
    let by_config =
        offline.replace("lookahead: 3", "lookahead: 3\nrandom_seed: 7\nproposer: { replay: replies.jsonl }");
    copy.write("config.yaml", &by_config.replace("max_iterations: 12", "max_iterations: 20"));
    let output = copy.run(&["run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("the recording has no further reply"), "{}", text(&output.stderr));
    assert_eq!(copy.sql(query), before);
    // Another seed is another run, and is said to be.
    let output = copy.run(&["run", "--seed", "8", "--iterations", "3"]);
    assert!(text(&output.stderr).contains("the recording is of another run"), "{}", text(&output.stderr));
}

#[test]
fn ctrl_c_does_not_wait_for_an_endpoint_that_is_down() {
    let endpoint = Endpoint::start(|n, _| match n {
        0 => completion(&edit(1)),
        _ => response(503, &["retry-after: 250"], "down"),
    });
    let project = project(&endpoint, 8, "");
    let child = project.command(&["run"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while endpoint.count() < 2 {
        assert!(started.elapsed() < Duration::from_secs(30), "it never asked");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(200));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(started.elapsed() < Duration::from_secs(60), "it waited");
    assert_eq!(number(&project, "select count(*) from proposal where number > 0"), 1);
}

#[test]
fn a_stream_ends_where_it_says_so_and_not_where_the_server_closes() {
    let endpoint = Endpoint::start(|n, _| {
        let whole = [stream_of(&edit(n)), stream_end()].concat();
        Act::SendAndHang(whole)
    });
    let project = project(&endpoint, 3, "");
    let started = Instant::now();
    project.succeed(&["run"]);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_complete(&project, 3, &endpoint);
}
