//! Diagnostics as JSON, and spans for a collector, which never costs a run anything.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

mod common;

use std::time::{Duration, Instant};

use common::server::Server;
use common::{Project, text};
use serde_json::Value;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

#[test]
fn diagnostics_are_one_json_object_a_line_if_asked_for() {
    let project = Project::new("");
    let output = project.run(&["run", "--log-format", "json", "-vv", "--iterations", "2"]);
    assert!(output.status.success(), "{output:?}");
    let stderr = text(&output.stderr);
    let lines: Vec<Value> = stderr
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!lines.is_empty(), "{stderr}");
    for line in &lines {
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_spans_of_a_run_and_of_requests_and_nothing_of_what_is_in_them() {
    let collector = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/traces"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&collector)
        .await;
    let spans = async || {
        let requests = collector.received_requests().await.unwrap();
        for request in &requests {
            assert_eq!(request.headers["content-type"], "application/x-protobuf");
        }
        requests.iter().map(|request| text(&request.body)).collect::<String>()
    };
    let project = Project::new("");
    // By flag, and by OpenTelemetry's own variable.
    tokio::task::block_in_place(|| {
        project.succeed(&["run", "--otlp", &collector.uri(), "--iterations", "3"])
    });
    let of_run = spans().await;
    for part in ["service.name", "evolve", "run", "propose", "evaluate", "store", "number"] {
        assert!(of_run.contains(part), "{part} is missing in {of_run:?}");
    }
    assert!(!of_run.contains("EVOLVE-BLOCK") && !of_run.contains("x = "), "{of_run:?}");

    let mut command = project.command(&["serve", "--json", "--listen", "127.0.0.1:0"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.uri());
    tokio::task::block_in_place(|| {
        let server = Server::of(command);
        server.get("/api/v1/runs/1");
        let (status, _) = server.end("-TERM");
        assert!(status.success());
    });
    let all = spans().await;
    assert!(all[of_run.len()..].contains("/api/v1/runs/{run}"), "{:?}", &all[of_run.len()..]);
}

#[test]
fn a_collector_that_is_away_or_never_answers_holds_up_no_run() {
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in ["http://127.0.0.1:9", &silent] {
        let project = Project::new("");
        let begun = Instant::now();
        let output = project.run(&["run", "--otlp", endpoint, "--iterations", "3"]);
        assert!(output.status.success(), "{output:?}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        assert!(text(&output.stdout).contains("3 proposals"), "{output:?}");
    }
}

#[test]
fn an_address_that_is_none_is_refused_before_anything_is_done() {
    let project = Project::new("");
    for wrong in ["nonsense", "ftp://127.0.0.1", ""] {
        let said = project.fail(2, &["run", "--otlp", wrong]);
        assert!(said.contains("--otlp") && said.contains("http://127.0.0.1:4318"), "{said}");
    }
    assert!(!project.path("evolve.db").exists());
}
