//! Runs that are started, paused and followed through the service are runs like any other, and outlive it.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

mod common;

use std::collections::BTreeSet;
use std::process::Stdio;

use common::Project;
use common::server::{Event, Server};
use serde_json::{Value, json};

/// A project whose evaluations take a moment, so that there is time to look at a run, and steer it.
fn project() -> Project {
    let project = Project::new("lookahead: 2\n");
    project
        .write("problem/evaluate.awk", &format!("BEGIN {{ system(\"sleep 0.05\") }}\n{}", common::EVALUATOR));
    project
}

fn start(server: &Server, body: &Value) -> Value {
    let answer = server.post("/api/v1/runs", body);
    assert_eq!(answer.status, 201, "{answer:?}");
    let started = answer.json();
    assert_eq!(answer.header("location").unwrap(), format!("/api/v1/runs/{}", started["run"]));
    started
}

fn is(state: &'static str) -> impl Fn(&Value) -> bool {
    move |run| run["state"] == state
}

/// Whether each number of a run has exactly one proposal and one outcome, and none is missing.
fn is_whole(project: &Project, run: i64, last: u64) {
    let rows = project.sql(&format!(
        "SELECT number, (SELECT count(*) FROM outcome o WHERE o.run_id = {run} AND o.number = p.number) AS outcomes
         FROM proposal p WHERE run_id = {run} ORDER BY number"
    ));
    let numbers: Vec<u64> = rows.iter().map(|row| row["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..=last).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row["outcomes"] == 1), "{rows:?}");
}

#[test]
fn a_run_is_started_paused_resumed_and_stopped_and_nothing_is_lost() {
    let project = project();
    let server = Server::start(&project, &["--db", "new.db", "--configs", "."]);
    assert_eq!(server.read("/api/v1/configs")[0]["name"], "config.yaml");
    let started = start(&server, &json!({"config": "config.yaml", "seed": 7, "budgets": {"iterations": 60}}));
    let run = "/api/v1/runs/1";
    let running = server.until(run, |run| run["proposals"].as_u64() > Some(4));
    assert_eq!(
        (&running["state"], &running["pid"], &running["seed"]),
        (&json!("running"), &started["pid"], &json!(7))
    );
    // Not twice at once.
    let twice = server.post(&format!("{run}/resume"), &json!({}));
    assert_eq!(twice.status, 409, "{twice:?}");
    // To ask twice is to ask once: the second signal would end it at once.
    for _ in 0..3 {
        let asked = server.post(&format!("{run}/pause"), &json!({}));
        if asked.status == 409 {
            break;
        }
        assert_eq!(asked.status, 202, "{asked:?}");
    }
    let paused = server.until(run, is("paused"));
    assert_eq!((&paused["reason"], &paused["pid"]), (&json!("interrupted"), &Value::Null));
    let so_far = paused["proposals"].as_u64().unwrap();
    assert!(so_far < 60);
    let over = server.post(&format!("{run}/pause"), &json!({}));
    assert_eq!(over.status, 409, "{over:?}");

    let resumed = server.post(&format!("{run}/resume"), &json!({"budgets": {"iterations": 5000}}));
    assert_eq!(resumed.status, 201, "{resumed:?}");
    server.until(run, |run| run["proposals"].as_u64() > Some(so_far + 3));
    assert_eq!(server.post(&format!("{run}/stop"), &json!({})).status, 202);
    let stopped = server.until(run, is("stopped"));
    assert_eq!(stopped["sessions"], 2);

    // Stopped or not, it goes on if asked, up to the budget that was given then.
    let last = stopped["proposals"].as_u64().unwrap() + 5;
    let resumed = server.post(&format!("{run}/resume"), &json!({"budgets": {"iterations": last}}));
    assert_eq!(resumed.status, 201, "{resumed:?}");
    let ended = server.until(run, is("ended"));
    assert_eq!(
        (ended["proposals"].as_u64(), &ended["sessions"], &ended["pending"]),
        (Some(last), &json!(3), &json!(0))
    );
    assert_eq!(server.read("/api/v1/runs?state=ended")["items"].as_array().unwrap().len(), 1);
    assert!(server.read("/api/v1/runs?state=running")["items"].as_array().unwrap().is_empty());
    drop(server);
    let rows =
        project.sql_of("new.db", "SELECT count(*) AS n, count(DISTINCT number) AS numbers FROM outcome");
    assert_eq!((rows[0]["n"].as_u64(), rows[0]["numbers"].as_u64()), (Some(last + 1), Some(last + 1)));
}

#[test]
fn only_what_lies_in_an_allowed_folder_is_started_or_resumed() {
    let project = project();
    project.write("allowed/good.yaml", "problem: ../problem\nproposer: rewrite\nmax_iterations: 3\n");
    project.write("allowed/bad.yaml", "problem: ../problem\nmax_iterrations: 3\n");
    std::os::unix::fs::symlink(project.path("config.yaml"), project.path("allowed/link.yaml")).unwrap();
    std::os::unix::fs::symlink(project.folder.path(), project.path("allowed/up")).unwrap();
    project.succeed(&["run", "--iterations", "1"]);
    let server = Server::start(&project, &["--configs", "allowed"]);
    let outside = project.path("config.yaml").display().to_string();
    let refused = |config: &str| {
        let answer = server.post("/api/v1/runs", &json!({"config": config}));
        assert_eq!(answer.status, 403, "{config}: {answer:?}");
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    for config in [
        "../config.yaml",
        "link.yaml",
        "up/config.yaml",
        "up/allowed/../config.yaml",
        "..%2fconfig.yaml",
        "",
        ".",
        "nothing.yaml",
        "good.yaml\u{0}",
        "--no-sandbox",
        &outside,
        "/etc/passwd",
    ] {
        refused(config);
    }
    // What is there and what isn't are answered alike.
    assert_eq!(
        refused("../config.yaml").replace("config.yaml", "X"),
        refused("../nothing.yaml").replace("nothing.yaml", "X")
    );
    for body in [
        json!({}),
        json!({"config": 1}),
        json!({"config": "good.yaml", "no_sandbox": true}),
        json!([]),
        json!({"config": "good.yaml", "budgets": {"record": "x"}}),
    ] {
        assert_eq!(server.post("/api/v1/runs", &body).status, 400, "{body}");
    }
    // A run from elsewhere isn't gone on with from here.
    let elsewhere = server.post("/api/v1/runs/1/resume", &json!({}));
    assert_eq!(elsewhere.status, 403, "{elsewhere:?}");
    // What evolve itself refuses is told in its words.
    let bad = server.post("/api/v1/runs", &json!({"config": "bad.yaml"}));
    assert_eq!(bad.status, 422, "{bad:?}");
    assert!(bad.json()["detail"].as_str().unwrap().contains("did you mean `max_iterations`"), "{bad:?}");
    assert_eq!(server.read("/api/v1/runs")["items"].as_array().unwrap().len(), 1);
    let started = start(&server, &json!({"config": "good.yaml"}));
    assert_eq!(
        started["config"],
        project.path("allowed/good.yaml").canonicalize().unwrap().display().to_string()
    );
    server.until("/api/v1/runs/2", is("ended"));
    let none = Server::start(&project, &[]);
    let answer = none.post("/api/v1/runs", &json!({"config": "good.yaml"}));
    assert!(answer.status == 403 && answer.body.contains("--configs DIR"), "{answer:?}");
}

#[test]
fn two_runs_at_once_both_come_to_their_end_and_no_more_than_allowed_are_started() {
    let project = project();
    let server = Server::start(&project, &["--db", "evolve.db", "--configs", ".", "--max-runs", "2"]);
    let body = json!({"config": "config.yaml", "budgets": {"iterations": 40}});
    let (one, two) = (start(&server, &body), start(&server, &body));
    assert_ne!(one["run"], two["run"]);
    let third = server.post("/api/v1/runs", &body);
    assert_eq!((third.status, third.header("retry-after")), (429, Some("2")), "{third:?}");
    for run in [&one, &two] {
        let state = server.read(&format!("/api/v1/runs/{}", run["run"]));
        assert_eq!((&state["state"], &state["pid"]), (&json!("running"), &run["pid"]));
    }
    for run in ["/api/v1/runs/1", "/api/v1/runs/2"] {
        server.until(run, is("ended"));
    }
    server.until("/api/v1/starts", |starts| {
        starts.as_array().unwrap().iter().all(|start| start["state"] == "ended")
    });
    for run in [1, 2] {
        is_whole(&project, run, 40);
    }
    // Same seed, same configuration: at once or one after the other, it is the same search.
    let sources =
        |run: i64| project.sql(&format!("SELECT source FROM programs WHERE run = {run} ORDER BY number"));
    assert_eq!(sources(1), sources(2));
    start(&server, &json!({"config": "config.yaml", "budgets": {"iterations": 1}}));
}

#[test]
fn a_run_outlives_the_server_that_started_it_however_that_ends() {
    for signal in ["-KILL", "-INT"] {
        let project = project();
        let server = Server::start(&project, &["--db", "evolve.db", "--configs", "."]);
        start(&server, &json!({"config": "config.yaml", "budgets": {"iterations": 40}}));
        server.until("/api/v1/runs/1", |run| run["proposals"].as_u64() > Some(2));
        server.end(signal);
        // Another server sees it, though it isn't its child, and can pause it.
        let server = Server::start(&project, &["--configs", "."]);
        assert_eq!(server.read("/api/v1/runs/1")["state"], "running");
        if signal == "-INT" {
            assert_eq!(server.post("/api/v1/runs/1/pause", &json!({})).status, 202);
            server.until("/api/v1/runs/1", is("paused"));
            assert_eq!(server.post("/api/v1/runs/1/resume", &json!({})).status, 201);
        }
        server.until("/api/v1/runs/1", is("ended"));
        let last =
            if signal == "-INT" { server.read("/api/v1/runs/1")["proposals"].as_u64().unwrap() } else { 40 };
        drop(server);
        is_whole(&project, 1, last);
    }
}

#[test]
fn a_run_of_a_terminal_is_seen_live_and_paused() {
    let project = project();
    project.succeed(&["run", "--iterations", "1"]);
    let server = Server::start(&project, &[]);
    let mut all = server.events("/api/v1/events", &[]);
    let mut other = server.events("/api/v1/runs/1/events", &[]);
    assert_eq!(
        (all.next().unwrap().name, other.next().unwrap().name),
        ("open".to_owned(), "open".to_owned())
    );
    let mut run = project
        .command(&["run", "--iterations", "2000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let number = |event: &Event| event.data["number"].as_u64();
    let events = all.until(|event| event.name == "finished" && number(event) == Some(5));
    assert_eq!((events[0].name.as_str(), &events[0].data["run"]), ("run_created", &json!(2)));
    assert!(events.iter().any(|event| event.name == "run_started" && event.data["pid"] == run.id()));
    let state = server.read("/api/v1/runs/2");
    assert_eq!((&state["state"], state["pid"].as_u64()), (&json!("running"), Some(run.id().into())));
    assert_eq!(server.post("/api/v1/runs/2/stop", &json!({})).status, 202);
    let rest = all.until(|event| event.name == "run_ended");
    assert_eq!(rest.last().unwrap().data["reason"], "interrupted");
    assert_eq!(run.wait().unwrap().code(), Some(130));
    server.until("/api/v1/runs/2", is("stopped"));
    // Nothing was missed, nothing told twice, and each proposal before its outcome.
    let told: Vec<&Event> = events.iter().chain(&rest).collect();
    let numbers =
        |name: &str| told.iter().filter(|e| e.name == name).filter_map(|e| number(e)).collect::<Vec<_>>();
    let (mut proposed, finished) = (numbers("proposed"), numbers("finished"));
    proposed.sort_unstable();
    assert_eq!(proposed, (0..proposed.len() as u64).collect::<Vec<_>>());
    assert_eq!(BTreeSet::from_iter(&finished).len(), finished.len());
    let at = |name: &str, wanted: u64| {
        told.iter().position(|e| e.name == name && number(e) == Some(wanted)).unwrap()
    };
    assert!(finished.iter().all(|n| at("proposed", *n) < at("finished", *n)));
    // The stream of the other run had nothing to tell of it.
    let resumed = project.succeed(&["resume", "1", "--iterations", "2"]);
    assert!(resumed.contains("run 1"));
    let of_other = other.until(|event| event.name == "run_ended");
    assert!(of_other.iter().all(|event| event.data["run"] == 1), "{of_other:?}");
}

#[test]
fn a_stream_goes_on_behind_the_last_event_that_a_client_saw() {
    let project = project();
    project.succeed(&["run", "--iterations", "30"]);
    let server = Server::start(&project, &[]);
    let everything = |from: &str| format!("/api/v1/events?after={from}");
    let all = server.events(&everything("0.0.0.0.0.0.0"), &[]).until(|event| event.name == "run_ended");
    assert_eq!(all.len(), 1 + 1 + 1 + 31 + 31 + 1, "open, run, session, proposals, outcomes, end");
    for index in [0, 1, 10, 40, all.len() - 2] {
        let id = all[index].id.clone();
        let rest = server
            .events("/api/v1/events", &[("Last-Event-ID", &id)])
            .until(|event| event.name == "run_ended");
        assert_eq!(rest[1..], all[index + 1..], "behind {id}");
        assert_eq!(rest[0].id, id);
    }
    // An id that means nothing here begins with what happens now, as one of a database that had more.
    let mut streams = ["nonsense", "9.9.9999.9999.9.9999.9"]
        .map(|id| server.events("/api/v1/events", &[("Last-Event-ID", id)]));
    for stream in &mut streams {
        assert_eq!(stream.next().unwrap().id, all.last().unwrap().id);
    }
    project.succeed(&["resume", "1", "--iterations", "31"]);
    for stream in &mut streams {
        assert_eq!(stream.next().unwrap().name, "run_started");
    }
}

#[test]
fn readers_that_take_nothing_do_not_slow_a_run() {
    let project = project();
    let server = Server::start(&project, &["--db", "evolve.db", "--configs", "."]);
    // Forty streams of everything that nobody reads.
    let streams: Vec<_> = (0..40).map(|_| server.events("/api/v1/events?after=0.0.0.0.0.0.0", &[])).collect();
    start(&server, &json!({"config": "config.yaml", "budgets": {"iterations": 40}}));
    server.until("/api/v1/runs/1", is("ended"));
    is_whole(&project, 1, 40);
    let mut late = streams;
    let told = late[0].until(|event| event.name == "run_ended");
    assert_eq!(
        told.iter().filter(|event| event.name == "finished").count(),
        41,
        "what was missed is told later"
    );
}

#[test]
fn ctrl_c_in_the_servers_terminal_is_no_concern_of_its_runs() {
    let project = project();
    let server = Server::start(&project, &["--db", "evolve.db", "--configs", "."]);
    let started = start(&server, &json!({"config": "config.yaml"}));
    let group = |pid: u64| {
        let listing =
            std::process::Command::new("ps").args(["-o", "pgid=", "-p", &pid.to_string()]).output().unwrap();
        common::text(&listing.stdout).trim().to_owned()
    };
    let (run, serve) = (group(started["pid"].as_u64().unwrap()), group(server.pid().into()));
    assert!(!run.is_empty() && run != serve, "{run} {serve}");
    server.until("/api/v1/runs/1", is("ended"));
}

#[test]
fn the_servers_token_is_not_handed_to_runs_and_keys_are_not_shown() {
    let project = project();
    project.write("problem/evaluate.awk", "BEGIN { while ((\"env\" | getline line) > 0) print line > \"/dev/stderr\"; print \"{\\\"score\\\": 1}\" }");
    let token = "0123456789abcdef-token";
    let mut command = project.command(&[
        "serve",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--db",
        "evolve.db",
        "--configs",
        ".",
    ]);
    command.env("EVOLVE_TOKEN", token).env("OPENAI_API_KEY", "sk-secret-key-of-the-server");
    let mut server = Server::of(command);
    server.token = Some(token.to_owned());
    assert_eq!(server.said["token"], true);
    let started = start(&server, &json!({"config": "config.yaml", "budgets": {"iterations": 2}}));
    // The run's own environment, where the system shows it, and everything that is stored or answered.
    let environment = std::fs::read(format!("/proc/{}/environ", started["pid"])).unwrap_or_default();
    assert!(!common::text(&environment).contains(token));
    server.until("/api/v1/runs/1", is("ended"));
    let mut texts = vec![
        server.get("/api/v1/runs/1").body,
        server.get("/api/v1/starts").body,
        server.get("/api/v1/runs/1/programs/1?prompt=true").body,
    ];
    for entry in std::fs::read_dir(project.path("evolve.db-logs")).unwrap() {
        texts.push(std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    assert!(texts.iter().all(|text| !text.contains(token) && !text.contains("sk-secret")), "{texts:?}");
}
