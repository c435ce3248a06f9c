//! `evolve serve` lets in whom it should, shows what there is, and does no more than it is allowed to.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::Project;
use common::server::{LONG, Server};
use serde_json::{Value, json};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A project with one finished run in its database.
fn project() -> Project {
    let project = Project::new("");
    project.succeed(&["run"]);
    project
}

#[test]
fn without_the_token_there_is_nothing_and_with_it_everything() {
    let project = project();
    project.write("token", &format!("{TOKEN}\n"));
    let mut server = Server::start(&project, &["--token-file", "token"]);
    for path in
        ["/api/v1/runs", "/api/v1/runs/1", "/api/v1/openapi.json", "/api/v1/events", "/metrics", "/nothing"]
    {
        let answer = server.get(path);
        assert_eq!(answer.status, 401, "{path}: {answer:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(server.post("/api/v1/sql", &json!({"sql": "SELECT 1"})).status, 401);
    for wrong in [
        "Bearer",
        "Bearer ",
        "Bearer 0123456789abcdef0123456789abcdeF",
        "Basic 0123456789abcdef0123456789abcdef",
        TOKEN,
    ] {
        assert_eq!(
            server.send("GET", "/api/v1/runs", &[("Authorization", wrong)], "").status,
            401,
            "{wrong}"
        );
    }
    assert_eq!(server.send("GET", "/api/v1/runs", &[("Cookie", "evolve=1; x=2")], "").status, 401);
    // Nothing of any run is behind these.
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/login").status, 200);
    // A person is led to the login page.
    let answer = server.send("GET", "/", &[("Accept", "text/html,application/xhtml+xml")], "");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/login")));
    server.token = Some(TOKEN.to_owned());
    assert_eq!(server.read("/api/v1/runs")["items"][0]["id"], 1);
}

#[test]
fn a_browser_logs_in_with_the_token_and_out_again() {
    let project = project();
    project.write("token", TOKEN);
    let server = Server::start(&project, &["--token-file", "token"]);
    let page = server.get("/login").body;
    let secret = page.split("name=\"form_secret\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let form = |path: &str, body: &str, cookie: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("Content-Type", "application/x-www-form-urlencoded"), ("Cookie", cookie)];
        headers.extend(more);
        server.send("POST", path, &headers, body)
    };
    let good = format!("form_secret={secret}&token={TOKEN}");
    // Not with a wrong token, not without the page's secret, and not from another site's page.
    let wrong = form("/login", &format!("form_secret={secret}&token=wrong"), "", &[]);
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains("not the token") && wrong.header("set-cookie").is_none(), "{wrong:?}");
    assert_eq!(form("/login", &format!("token={TOKEN}"), "", &[]).status, 403);
    assert_eq!(form("/login", &good, "", &[("Origin", "http://evil.example")]).status, 403);
    let answer =
        form("/login", &good, "", &[("Origin", server.said["url"].as_str().unwrap().trim_end_matches('/'))]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=") && !cookie.contains(TOKEN),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(server.send("GET", "/api/v1/runs", &[("Cookie", cookie)], "").status, 200);
    assert_eq!(form("/logout", &format!("form_secret={secret}"), cookie, &[]).status, 303);
    assert_eq!(server.send("GET", "/api/v1/runs", &[("Cookie", cookie)], "").status, 401);
}

#[test]
fn a_name_that_was_made_to_point_here_is_refused() {
    let project = project();
    let server = Server::start(&project, &["--allow-host", "searches.example"]);
    let port = server.address.rsplit(':').next().unwrap();
    for host in
        ["evil.example", &format!("evil.example:{port}"), "localhost.evil.example", "169.254.169.254", ""]
    {
        let answer = server.send("GET", "/api/v1/runs", &[("Host", host)], "");
        assert!(answer.status == 403 || answer.status == 400, "{host}: {answer:?}");
        assert!(!answer.body.contains("\"items\""), "{answer:?}");
    }
    for host in [&format!("localhost:{port}"), "searches.example", "[::1]:1", "127.0.0.1"] {
        assert_eq!(server.send("GET", "/api/v1/runs", &[("Host", host)], "").status, 200, "{host}");
    }
    let twice = server.send("GET", "/api/v1/runs", &[("Host", "localhost"), ("Host", "evil.example")], "");
    assert_eq!(twice.status, 400, "{twice:?}");
    let absolute = server.send("GET", "http://evil.example/api/v1/runs", &[("Host", "localhost")], "");
    assert_eq!(absolute.status, 403, "{absolute:?}");
}

#[test]
fn another_sites_page_can_change_nothing() {
    let project = project();
    let server = Server::start(&project, &["--configs", "."]);
    let start = json!({"config": "config.yaml"}).to_string();
    for (headers, status) in [
        (&[JSON, ("Origin", "http://evil.example")][..], 403),
        (&[JSON, ("Origin", "null")], 403),
        (&[JSON, ("Sec-Fetch-Site", "cross-site")], 403),
        (&[("Content-Type", "text/plain")], 415),
        (&[("Content-Type", "application/x-www-form-urlencoded")], 415),
        (&[("Content-Type", "multipart/form-data; boundary=x")], 415),
        (&[], 415),
    ] {
        let answer = server.send("POST", "/api/v1/runs", headers, &start);
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
    }
    // A browser asks first, and isn't told that it may.
    let asked = server.send(
        "OPTIONS",
        "/api/v1/runs",
        &[("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST")],
        "",
    );
    assert!(asked.header("access-control-allow-origin").is_none(), "{asked:?}");
    assert_eq!(server.read("/api/v1/runs")["items"].as_array().unwrap().len(), 1);
}

#[test]
fn every_answer_tells_browsers_to_run_nothing_that_isnt_ours() {
    let project = project();
    let server = Server::start(&project, &[]);
    for path in ["/api/v1/runs", "/login", "/nothing", "/api/v1/runs/99"] {
        let answer = server.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    }
}

#[test]
fn the_api_shows_what_the_run_found() {
    let project = project();
    let server = Server::start(&project, &[]);
    let run = &server.read("/api/v1/runs")["items"][0];
    assert_eq!((&run["state"], &run["reason"]), (&json!("ended"), &json!("all iterations are done")));
    assert_eq!(run["proposals"], 12);
    let best = run["best"]["number"].as_u64().unwrap();
    assert!(server.read("/api/v1/runs/1")["config"].as_str().unwrap().contains("max_iterations: 12"));
    let program = server.read(&format!("/api/v1/runs/1/programs/{best}"));
    let shown: Value =
        serde_json::from_str(&project.succeed(&["show", &best.to_string(), "--json"])).unwrap();
    assert_eq!(program, shown, "as `evolve show --json`");
    let source = server.get(&format!("/api/v1/runs/1/programs/{best}/source"));
    assert_eq!(source.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(source.body, program["source"].as_str().unwrap());
    let lineage = server.read(&format!("/api/v1/runs/1/programs/{best}/lineage"));
    assert_eq!((&lineage[0]["number"], lineage[0]["generation"].as_u64()), (&json!(0), Some(0)));
    assert_eq!(lineage.as_array().unwrap().last().unwrap()["number"], best);
    let diff = server.get(&format!("/api/v1/runs/1/programs/{best}/diff/0")).body;
    assert!(diff.starts_with("--- program 1/0\n+++ program 1/") && diff.contains("\n-x = 10\n"), "{diff}");
    let found =
        server.read("/api/v1/runs/1/query?filter=score%20%3E%200%20order%20by%20score%20desc&limit=1");
    assert_eq!((found["rows"].as_array().unwrap().len(), &found["truncated"]), (1, &json!(true)));
    let number = found["columns"].as_array().unwrap().iter().position(|column| column == "number").unwrap();
    assert_eq!(found["rows"][0][number], best);
    for nothing in [
        "/api/v1/runs/2",
        "/api/v1/runs/1/programs/99",
        "/api/v1/runs/-1",
        "/api/v1/starts/1",
        "/api/v2/runs",
        "/../etc/passwd",
    ] {
        let answer = server.get(nothing);
        assert_eq!(answer.status, 404, "{nothing}: {answer:?}");
        assert_eq!(answer.json()["status"], 404);
    }
    for wrong in [
        "/api/v1/runs/one",
        "/api/v1/runs?limit=0",
        "/api/v1/runs?nonsense=1",
        "/api/v1/runs/1/query?filter=nonsense%20%3D",
        "/api/v1/events?after=x",
    ] {
        let answer = server.get(wrong);
        assert_eq!(answer.status, 400, "{wrong}: {answer:?}");
        assert!(!answer.json()["detail"].as_str().unwrap().is_empty());
    }
    assert_eq!(server.send("DELETE", "/api/v1/runs/1", &[JSON], "{}").status, 405);
}

#[test]
fn programs_are_listed_page_by_page_in_any_order() {
    let project = project();
    let server = Server::start(&project, &[]);
    let all = |path: &str, query: &str| {
        let (mut numbers, mut after) = (Vec::new(), String::new());
        loop {
            let page = server.read(&format!("{path}?limit=5{query}{after}"));
            numbers.extend(
                page["items"].as_array().unwrap().iter().map(|item| item["number"].as_u64().unwrap()),
            );
            let Some(next) = page["next"].as_str() else { return numbers };
            after = format!("&after={next}");
        }
    };
    let programs = "/api/v1/runs/1/programs";
    assert_eq!(all(programs, ""), (0..=12).rev().collect::<Vec<_>>());
    assert_eq!(all(programs, "&order=oldest"), (0..=12).collect::<Vec<_>>());
    let expected =
        project.sql("SELECT number FROM proposals WHERE score IS NOT NULL ORDER BY score DESC, number");
    let expected: Vec<u64> = expected.iter().map(|row| row["number"].as_u64().unwrap()).collect();
    assert_eq!(all(programs, "&order=best"), expected);
    assert!(expected.len() > 5, "more than a page: {expected:?}");
    let children = project.sql("SELECT number FROM proposals WHERE parent = 0 ORDER BY number");
    let children: Vec<u64> = children.iter().map(|row| row["number"].as_u64().unwrap()).collect();
    assert_eq!(all("/api/v1/runs/1/programs/0/children", ""), children);
    assert!(all(programs, "&kind=crash").is_empty());
    for (wrong, status) in [("?limit=1001", 400), ("?order=sideways", 400), ("?after=99", 404)] {
        assert_eq!(server.get(&format!("{programs}{wrong}")).status, status, "{wrong}");
    }
    assert_eq!(server.get("/api/v1/runs/1/programs/99/children").status, 404);
}

#[test]
fn metrics_are_text_for_prometheus_and_name_no_addresses() {
    let project = project();
    let server = Server::start(&project, &[]);
    for path in ["/api/v1/runs/1", "/api/v1/runs/99", "/nothing/at/all", "/nothing/else"] {
        server.get(path);
    }
    let mut stream = server.events("/api/v1/events", &[]);
    stream.next().unwrap();
    let answer = server.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let metrics = answer.body;
    let value = |line: &str| {
        let found = metrics.lines().find_map(|found| found.strip_prefix(line));
        let found = found.unwrap_or_else(|| panic!("no {line} in\n{metrics}"));
        found.trim().parse::<f64>().unwrap()
    };
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(near(value("evolve_run_proposals_total{run=\"1\"}"), 12.0));
    assert!(near(value("evolve_run_state{run=\"1\",state=\"ended\"}"), 1.0));
    assert!(near(value("evolve_run_pending{run=\"1\"}"), 0.0));
    let best = server.read("/api/v1/runs/1")["best"]["score"].as_f64().unwrap();
    assert!(near(value("evolve_run_best_score{run=\"1\"}"), best));
    assert!(near(value("evolve_event_streams"), 1.0));
    let route = "route=\"/api/v1/runs/{run}\"";
    assert!(near(
        value(&format!("evolve_http_requests_total{{method=\"GET\",{route},status=\"404\"}}")),
        1.0
    ));
    assert!(near(value("evolve_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"}"), 2.0));
    assert!(near(value(&format!("evolve_http_request_seconds_count{{{route}}}")), 2.0));
    assert!(metrics.ends_with("# EOF\n") && !metrics.contains("/nothing"), "{metrics}");
    // Every outcome is one of the kinds that are told.
    let outcomes: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("evolve_run_outcomes_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert!(near(outcomes, 13.0), "{metrics}");
}

#[test]
fn sql_reads_within_limits_and_does_nothing_else() {
    let project = project();
    let server = Server::start(&project, &[]);
    let ask = |sql: &str| server.post("/api/v1/sql", &json!({"sql": sql, "limit": 5}));
    let answer = ask("SELECT number, kind FROM proposals ORDER BY number").json();
    assert_eq!(
        (&answer["columns"], answer["rows"].as_array().unwrap().len()),
        (&json!(["number", "kind"]), 5)
    );
    assert_eq!(answer["truncated"], true);
    let before = std::fs::read(project.path("evolve.db")).unwrap();
    for refused in [
        "DELETE FROM outcome",
        "SELECT 1; DROP TABLE run",
        "ATTACH 'other.db' AS other",
        "VACUUM INTO 'copy.db'",
        "PRAGMA query_only = 0",
        "WITH x AS (SELECT 1) INSERT INTO run SELECT * FROM x",
        "SELECT load_extension('x')",
        "SELECT writefile('x', 'y')",
    ] {
        let answer = ask(refused);
        assert!(answer.status == 403 || answer.status == 400, "{refused}: {answer:?}");
    }
    assert_eq!(std::fs::read(project.path("evolve.db")).unwrap(), before);
    assert!(!project.path("copy.db").exists() && !project.path("other.db").exists());
    assert_eq!(ask("SELECT zeroblob(900000000)").status, 400);
    // One that never ends is stopped, and others are answered meanwhile.
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let endless = scope.spawn(|| {
            ask("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
        });
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(ask("SELECT 1").status, 200);
        assert_eq!(server.get("/api/v1/runs").status, 200);
        assert!(begun.elapsed() < Duration::from_secs(4));
        let answer = endless.join().unwrap();
        assert_eq!(answer.status, 422, "{answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("stopped after 5 s"));
    });
    let long = "x".repeat(400_000);
    assert_eq!(ask(&format!("SELECT '{long}'")).status, 413);
    let much = ask("SELECT hex(randomblob(1000000)) FROM proposals");
    assert_eq!((much.status, &much.json()["truncated"]), (200, &json!(true)));
}

#[test]
fn a_source_with_markup_and_escapes_in_it_is_text() {
    let project = Project::new("");
    let hostile = "<script>alert(1)</script> \x1b[31m \u{202e} \"'&";
    project.write("problem/initial.py", &format!("# {hostile}\n{}", common::PROGRAM));
    project.succeed(&["run", "--iterations", "1"]);
    let server = Server::start(&project, &[]);
    let answer = server.get("/api/v1/runs/1/programs/0");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(!answer.body.contains('\x1b'), "JSON escapes control characters");
    assert!(answer.json()["source"].as_str().unwrap().contains(hostile));
    let answer = server.get("/api/v1/runs/1/programs/0/source");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.body.contains(hostile));
}

#[test]
fn what_is_wrong_is_said_in_one_clear_line() {
    let project = project();
    let says = |code: i32, arguments: &[&str], words: &[&str]| {
        let said = project.fail(code, arguments);
        assert!(words.iter().all(|word| said.contains(word)), "{arguments:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    };
    says(2, &["serve", "--db", "nothing.db"], &["there is no database at PROJECT/nothing.db"]);
    project.write("text.db", "this is a text and no database at all");
    says(4, &["serve", "--db", "text.db"], &["is not a database"]);
    says(2, &["serve", "--listen", "0.0.0.0:0"], &["token", "--token-file", "ssh -L"]);
    project.write("short", "secret");
    says(2, &["serve", "--listen", "0.0.0.0:0", "--token-file", "short"], &["at least 16"]);
    says(2, &["serve", "--token-file", "nothing"], &["--token-file nothing"]);
    says(2, &["serve", "--configs", "nothing"], &["--configs nothing"]);
    says(2, &["serve", "--configs", "config.yaml"], &["not a folder"]);
    let server = Server::start(&project, &[]);
    says(2, &["serve", "--listen", &server.address], &["can't listen at", "another port"]);
}

#[test]
fn a_clean_stop_waits_for_no_event_stream() {
    let project = project();
    for signal in ["-TERM", "-INT"] {
        let server = Server::start(&project, &[]);
        let mut streams: Vec<_> = (0..3).map(|_| server.events("/api/v1/events", &[])).collect();
        for stream in &mut streams {
            assert_eq!(stream.next().unwrap().name, "open");
        }
        let (status, took) = server.end(signal);
        assert!(status.success(), "{status}");
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
}

#[test]
fn a_client_that_says_nothing_or_takes_nothing_holds_up_nobody() {
    let project = project();
    let server = Server::start(&project, &[]);
    let mut silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    for stream in &mut silent {
        stream.write_all(b"GET /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
    }
    let begun = Instant::now();
    assert_eq!(server.get("/api/v1/runs").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5));
    // What is no HTTP at all is answered, or closed.
    let mut nonsense = TcpStream::connect(&server.address).unwrap();
    nonsense.set_read_timeout(Some(LONG)).unwrap();
    nonsense.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    nonsense.read_to_end(&mut answer).unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
    assert_eq!(server.get("/api/v1/runs").status, 200);
}
