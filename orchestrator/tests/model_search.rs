//! A search by a language model: a real server on the loopback that answers as an OpenAI-compatible endpoint does.
//! Only the model's wit is made up.

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use common::Project;

const KEY: &str = "sk-planted-0123456789abcdef";

/// One request as the server saw it.
#[derive(Debug, Clone)]
struct Seen {
    authorization: String,
    body: String,
}

/// Answers chat completions with `reply(n)` for the n-th request; returns the base URL and what was seen.
fn serve(reply: impl Fn(usize) -> (u16, String) + Send + 'static) -> (String, Arc<Mutex<Vec<Seen>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
            let (mut authorization, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                match name.to_ascii_lowercase().as_str() {
                    "authorization" => value.trim().clone_into(&mut authorization),
                    "content-length" => length = value.trim().parse().unwrap_or(0),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                continue;
            }
            let mut all = log.lock().expect("the log");
            all.push(Seen { authorization, body: common::text(&body) });
            let (status, content) = reply(all.len() - 1);
            drop(all);
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{content}",
                content.len()
            );
        }
    });
    (format!("http://{address}/v1"), seen)
}

fn completion(content: &str) -> (u16, String) {
    let body = serde_json::json!({
        "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": content } }],
        "usage": { "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120 }
    });
    (200, body.to_string())
}

fn project(base: &str, iterations: u32) -> Project {
    let project = Project::new("");
    project.write(
        "config.yaml",
        &format!(
            "problem: problem\nmax_iterations: {iterations}\nllm:\n  api_base: {base}\n  api_key: ${{PLANTED_KEY}}\n  \
             retries: 1\n  retry_delay: 0.01\n  models: [{{ name: m, price: {{ input: 1.0, output: 2.0 }} }}]\n"
        ),
    );
    project
}

fn run(project: &Project, arguments: &[&str]) -> std::process::Output {
    project.command(arguments).env("PLANTED_KEY", KEY).output().expect("evolve starts")
}

/// Moves x a step nearer to 100 from wherever the prompt's parent has it.
fn edit(step: usize) -> String {
    let x = 10 + 5 * step;
    format!("I raise x.\n<<<<<<< SEARCH\ny = 3\n=======\ny = 3\nx = {x}\n>>>>>>> REPLACE\n")
}

#[test]
fn edits_of_a_model_are_applied_evaluated_and_kept_with_prompt_reply_and_price() {
    let (base, seen) = serve(|n| completion(&edit(n + 1)));
    let project = project(&base, 6);
    let output = run(&project, &["run"]);
    assert!(output.status.success(), "{}", common::text(&output.stderr));
    let rows = project
        .sql("select prompt, reply, tokens_in, cost, model from proposal where number > 0 order by number");
    assert_eq!(rows.len(), 6);
    for row in &rows {
        assert!(row["prompt"].as_str().is_some_and(|prompt| prompt.contains("x = 10")), "{row}");
        assert!(row["reply"].as_str().is_some_and(|reply| reply.contains(">>>>>>> REPLACE")));
        assert_eq!((row["tokens_in"].as_u64(), row["model"].as_str()), (Some(100), Some("m")));
        assert_eq!(row["cost"].as_f64(), Some(100.0 * 1e-6 + 20.0 * 2e-6));
    }
    assert_eq!(seen.lock().expect("the log").len(), 6, "one request a proposal");
    let measured = project.sql("select count(*) as n from outcome where kind = 'measured' and number > 0");
    assert!(measured[0]["n"].as_u64() >= Some(4), "{measured:?}");
}

#[test]
fn an_edit_that_misses_is_an_outcome_and_its_reason_reaches_a_later_prompt() {
    let (base, seen) = serve(|n| {
        completion(if n == 0 {
            "<<<<<<< SEARCH\nno such line\n=======\nz\n>>>>>>> REPLACE"
        } else {
            "nothing useful"
        })
    });
    let project = project(&base, 10);
    // One at a time: the first request is proposal 1's.
    let config = std::fs::read_to_string(project.path("config.yaml")).expect("the configuration");
    project.write("config.yaml", &format!("{config}lookahead: 1\n"));
    assert!(run(&project, &["run"]).status.success());
    let first = project.sql("select kind from outcome where number = 1");
    assert_eq!(first[0]["kind"], "patch");
    let seen = seen.lock().expect("the log");
    assert!(
        seen.iter().skip(1).any(|request| request.body.contains("no such line")),
        "the failure is never told"
    );
}

#[test]
fn the_key_goes_to_the_endpoint_and_nowhere_else() {
    let (base, seen) = serve(|n| {
        if n == 2 {
            (500, format!("{{\"error\": {{\"message\": \"echo Bearer {KEY}\"}}}}"))
        } else {
            completion(&edit(n + 1))
        }
    });
    let project = project(&base, 5);
    // The command leaves its whole environment as an artifact.
    project.write("problem/evaluate.sh", "env >&2\nawk -f \"$(dirname \"$0\")/evaluate.awk\" \"$1\"\n");
    let yaml = std::fs::read_to_string(project.path("problem/problem.yaml")).expect("the problem");
    project.write("problem/problem.yaml", &yaml.replace("[awk, -f, evaluate.awk]", "[sh, evaluate.sh]"));
    let output = run(&project, &["run", "-vv"]);
    assert!(output.status.success(), "{}", common::text(&output.stderr));
    assert!(
        seen.lock().expect("the log").iter().all(|request| request.authorization == format!("Bearer {KEY}"))
    );
    for (place, bytes) in [("standard output", output.stdout), ("standard error", output.stderr)] {
        assert!(!common::text(&bytes).contains(KEY), "the key is on {place}");
    }
    let artifacts = project.sql("select content from artifact");
    assert!(artifacts.iter().any(|row| row["content"].as_str().is_some_and(|text| text.contains("PATH="))));
    let mut looked_at = 0;
    let mut folders = vec![project.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let bytes = std::fs::read(entry.path()).expect("a file");
            assert!(
                !bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()),
                "the key is in {:?}",
                entry.path()
            );
            looked_at += 1;
        }
    }
    assert!(looked_at > 4, "database and all");
}

#[test]
fn a_wrong_key_stops_the_run_at_once_and_says_so() {
    let (base, seen) = serve(|_| (401, "{\"error\": {\"message\": \"Incorrect API key provided\"}}".into()));
    let project = project(&base, 8);
    let output = run(&project, &["run"]);
    let words = common::text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{words}");
    assert!(words.contains("key") && words.contains("evolve resume"), "{words}");
    assert!(!words.contains(KEY));
    let asked = seen.lock().expect("the log").len();
    assert!(asked <= 4, "{asked} requests with a key that doesn't work");
}

#[test]
fn a_search_stopped_by_the_endpoint_goes_on_where_it_was() {
    let (base, _) = serve(|n| if n < 3 { completion(&edit(n + 1)) } else { (401, "{}".into()) });
    let broken = project(&base, 6);
    assert_eq!(run(&broken, &["run"]).status.code(), Some(3));
    let before = broken.sql("select number, reply from proposal order by number");
    let (base, seen) = serve(|n| completion(&edit(n + 4)));
    let config = std::fs::read_to_string(broken.path("config.yaml")).expect("the configuration");
    let base_line = config.lines().find(|line| line.contains("api_base")).expect("api_base").to_owned();
    broken.write("config.yaml", &config.replace(&base_line, &format!("  api_base: {base}")));
    let output = run(&broken, &["resume", "--config", "config.yaml"]);
    assert!(output.status.success(), "{}", common::text(&output.stderr));
    let after = broken.sql("select number, reply from proposal order by number");
    assert_eq!(after.len(), 7);
    assert!(before.iter().all(|row| after.contains(row)), "a stored reply changed");
    assert_eq!(seen.lock().expect("the log").len(), 7 - before.len(), "only what was missing is asked for");
}

#[test]
fn a_model_and_rules_take_turns_by_what_they_improved_and_go_on_after_a_change_of_the_list() {
    // The model never answers anything that can be used.
    let (base, seen) = serve(|_| completion("nothing useful"));
    let project = project(&base, 24);
    let config = std::fs::read_to_string(project.path("config.yaml")).expect("the configuration");
    let both = format!("{config}proposer: [llm, rewrite]\nsearch: {{ bandit: {{ policy: ucb }} }}\n");
    project.write("config.yaml", &both);
    let output = run(&project, &["run"]);
    assert!(output.status.success(), "{}", common::text(&output.stderr));
    assert!(common::text(&output.stderr).contains("proposer llm + rewrite"), "the start names both");
    let count = |name: &str| {
        let rows = project
            .sql(&format!("select count(*) as n from proposal where number > 0 and proposer = '{name}'"));
        rows[0]["n"].as_u64().expect("a count")
    };
    let (model, rules) = (count("llm"), count("rewrite"));
    assert_eq!(model + rules, 24);
    assert!(model > 0 && rules > model, "{model} by the model, {rules} by rules");
    assert_eq!(seen.lock().expect("the log").len() as u64, model, "rules ask no model");
    // The model is taken off the list: what it did stays, and the rules go on.
    project.write("config.yaml", &both.replace("[llm, rewrite]", "[rewrite]"));
    let arguments = ["resume", "--config", "config.yaml", "--iterations", "30"];
    let output = run(&project, &arguments);
    assert!(output.status.success(), "{}", common::text(&output.stderr));
    assert_eq!((count("llm"), count("rewrite")), (model, rules + 6));
}
