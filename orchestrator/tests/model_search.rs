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
    serve_with(move |n, _| reply(n))
}

/// The same, where the answer depends on the request's body too.
fn serve_with(
    reply: impl Fn(usize, &str) -> (u16, String) + Send + 'static,
) -> (String, Arc<Mutex<Vec<Seen>>>) {
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
            let body = common::text(&body);
            all.push(Seen { authorization, body: body.clone() });
            let (status, content) = reply(all.len() - 1, &body);
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

/// A number that follows from a text.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(byte.into()))
}

/// Answers with what `reply` makes of the prompt.
fn serve_by_prompt(reply: impl Fn(&str) -> String + Send + 'static) -> (String, Arc<Mutex<Vec<Seen>>>) {
    serve_with(move |_, body| {
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        completion(&reply(body["messages"][1]["content"].as_str().expect("a prompt")))
    })
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

/// The configuration with more at its end.
fn add(project: &Project, more: &str) {
    let config = std::fs::read_to_string(project.path("config.yaml")).expect("the configuration");
    project.write("config.yaml", &format!("{config}{more}"));
}

#[test]
fn a_failure_is_given_back_once_with_its_reason_and_what_comes_of_it_is_counted() {
    // Every answer misses, but one to a prompt that asks to mend: so nothing is ever mended twice.
    let mended = Arc::new(Mutex::new(0));
    let count = mended.clone();
    let (base, seen) = serve_by_prompt(move |prompt| {
        if prompt.contains("# The answer to mend") {
            let mut count = count.lock().expect("a count");
            *count += 1;
            edit(50 + *count)
        } else {
            "<<<<<<< SEARCH\nno such line\n=======\nz\n>>>>>>> REPLACE".to_owned()
        }
    });
    let project = project(&base, 12);
    add(&project, "search: { repair: { share: 1.0, limit: 1.0 }, bandit: { operators: { edit: 1 } } }\n");
    let output = run(&project, &["run"]);
    assert!(output.status.success(), "{}", common::text(&output.stderr));
    let rows = project.sql(
        "select p.number, p.parent, p.operator, p.repairs, o.kind from proposal p join outcome o using (run_id, number) where number > 0",
    );
    let repairs: Vec<u64> = rows.iter().filter_map(|row| row["repairs"].as_u64()).collect();
    let failures = rows.iter().filter(|row| row["kind"] == "patch").count();
    assert!(!repairs.is_empty() && failures >= repairs.len(), "{rows:?}");
    let distinct: std::collections::BTreeSet<&u64> = repairs.iter().collect();
    assert_eq!(distinct.len(), repairs.len(), "a failure was mended twice: {rows:?}");
    for row in rows.iter().filter(|row| row["repairs"].is_u64()) {
        assert_eq!(row["operator"], "repair");
        let failed = rows.iter().find(|other| other["number"] == row["repairs"]).expect("the failure");
        assert_eq!((&failed["kind"], &failed["parent"]), (&serde_json::json!("patch"), &row["parent"]));
        assert_eq!(row["kind"], "measured", "a repair that fits is measured: {row}");
    }
    assert_eq!(*mended.lock().expect("a count"), repairs.len(), "a repair is one request");
    let told = seen
        .lock()
        .expect("the log")
        .iter()
        .any(|it| it.body.contains("no such line") && it.body.contains("Mend it"));
    assert!(told, "the answer to mend and its reason are in the prompt");
    // Visible where people look: `evolve query`, the end of a run, and the line of each proposal.
    let query = project.succeed(&["query", "repairs >= 1", "--format", "json"]);
    let found = serde_json::from_str::<serde_json::Value>(&query).expect("JSON");
    assert_eq!(found.as_array().expect("rows").len(), repairs.len());
    let words = common::text(&output.stdout);
    assert!(words.contains(&format!("repairs: {} of {}", repairs.len(), repairs.len())), "{words}");
}

#[test]
fn a_crossover_has_both_parents_in_the_prompt_and_in_the_database() {
    let (base, seen) = serve(|n| completion(&edit(n + 1)));
    let project = project(&base, 10);
    add(&project, "search: { bandit: { operators: { crossover: 1 } } }\n");
    assert!(run(&project, &["run"]).status.success());
    let rows = project.sql("select number, operator, parent, inspirations from proposal where number > 0");
    let crossed: Vec<_> = rows.iter().filter(|row| row["operator"] == "crossover").collect();
    assert!(crossed.len() >= 4, "{rows:?}");
    for row in crossed {
        let others: Vec<u64> =
            serde_json::from_str(row["inspirations"].as_str().expect("a list")).expect("numbers");
        assert_ne!(others.first(), row["parent"].as_u64().as_ref(), "{row}");
        assert!(!others.is_empty(), "{row}");
    }
    let seen = seen.lock().expect("the log");
    assert!(seen.iter().any(|request| request.body.contains("The program to cross it with")));
}

#[test]
fn lessons_are_written_stored_shown_and_used_again_after_an_interruption() {
    let run_with = |iterations: u64, project: Option<Project>| {
        let (base, seen) = serve_by_prompt(|prompt| {
            if prompt.contains("Write the lessons anew") {
                let version = prompt.matches("lesson of version").count() + 1;
                return format!("- A lesson of version {version}.\n- x near 100 is best.\n");
            }
            // As good an answer as any, and always the same to the same prompt.
            edit(usize::try_from(fingerprint(prompt) % 400).expect("small"))
        });
        let project = project.unwrap_or_else(|| self::project(&base, 1));
        let config = std::fs::read_to_string(project.path("config.yaml")).expect("the configuration");
        let line = config.lines().find(|line| line.contains("api_base")).expect("api_base").to_owned();
        let config = config.replace(&line, &format!("  api_base: {base}"));
        let lines: Vec<&str> = config
            .lines()
            .filter(|line| !line.starts_with("max_iter") && !line.starts_with("lessons"))
            .collect();
        let lessons = "lessons: { every: 6, most: 5 }\n";
        project
            .write("config.yaml", &format!("{}\nmax_iterations: {iterations}\n{lessons}", lines.join("\n")));
        let fresh = !project.path("evolve.db").exists();
        let arguments: &[&str] = if fresh { &["run"] } else { &["resume", "--config", "config.yaml"] };
        let output = run(&project, arguments);
        assert!(output.status.success(), "{}", common::text(&output.stderr));
        let asked = seen
            .lock()
            .expect("the log")
            .iter()
            .filter(|it| it.body.contains("Write the lessons anew"))
            .count();
        (project, asked)
    };
    let rows = |project: &Project| {
        (
            project.sql("select number, prompt, lesson, operator from proposal order by number"),
            project
                .sql("select version, told, lessons, prompt, tokens_in, cost from lesson order by version"),
        )
    };
    let (whole, asked) = run_with(30, None);
    let (proposals, lessons) = rows(&whole);
    assert!(lessons.len() >= 3 && asked == lessons.len(), "{lessons:?}");
    assert_eq!(
        (&lessons[0]["version"], &lessons[0]["told"], &lessons[0]["tokens_in"]),
        (&1.into(), &6.into(), &100.into())
    );
    assert!(lessons[0]["cost"].as_f64() > Some(0.0));
    assert!(
        lessons[1]["prompt"].as_str().expect("a prompt").contains("A lesson of version"),
        "the next version builds on it"
    );
    // Four are asked for ahead: version 1, of 6 outcomes, is in the prompts that are asked for after 10.
    let shown = |proposal: &serde_json::Value| {
        proposal["prompt"].as_str().is_some_and(|it| it.contains("A lesson of version"))
    };
    for proposal in &proposals[1..] {
        assert_eq!(shown(proposal), proposal["lesson"].is_u64(), "{proposal}");
        assert_eq!(
            proposal["lesson"].is_u64(),
            proposal["number"].as_u64() >= Some(13),
            "{}",
            proposal["number"]
        );
    }
    // In two sessions: the same prompts, and nothing is asked twice.
    let (first, asked_first) = run_with(15, None);
    let (both, asked_then) = run_with(30, Some(first));
    assert_eq!(rows(&both), (proposals, lessons));
    assert_eq!(asked_first + asked_then, asked);
    let printed = both.succeed(&["lessons"]);
    assert!(printed.contains("- x near 100 is best."), "{printed}");
    let all: serde_json::Value = serde_json::from_str(&both.succeed(&["lessons", "--json"])).expect("JSON");
    assert_eq!(all.as_array().map(Vec::len), Some(asked));
    // Their tokens are counted with the proposals'.
    let tokens = whole.sql("select sum(tokens_in) as n from (select tokens_in from proposal union all select tokens_in from lesson)");
    let summary = run(&whole, &["resume"]);
    let summary = common::text(&summary.stdout);
    assert!(summary.contains(&format!("{} tokens in", tokens[0]["n"])), "{summary}");
}

#[test]
fn the_next_prompt_is_printed_without_a_network_or_a_key() {
    let (base, seen) = serve(|n| completion(&edit(n + 1)));
    let project = project(&base, 9);
    add(&project, "lookahead: 1\n");
    assert!(run(&project, &["run"]).status.success());
    let asked = seen.lock().expect("the log").len();
    let printed = project.succeed(&["prompt"]);
    assert!(printed.starts_with("[system]\n") && printed.contains("# The program to improve"), "{printed}");
    // It is what the next proposal then gets.
    assert!(run(&project, &["resume", "--iterations", "10"]).status.success());
    let next = project.sql("select prompt from proposal where number = 10");
    assert_eq!(next[0]["prompt"].as_str(), Some(printed.as_str()));
    assert_eq!(seen.lock().expect("the log").len(), asked + 1, "printing asks nobody");
    for (arguments, expected) in [
        (&["prompt", "3", "--operator", "simplify"][..], "Make this program shorter"),
        (&["prompt", "3", "--operator", "crossover"], "The program to cross it with"),
        (&["prompt", "3", "--operator", "full_rewrite", "--seed", "5"], "Program 3."),
    ] {
        let printed = project.succeed(arguments);
        assert!(printed.contains(expected), "{arguments:?}: {printed}");
    }
    let words = project.fail(2, &["prompt", "3", "--operator", "mutate"]);
    assert!(words.contains("there is no operator `mutate`") && words.contains("simplify"), "{words}");
    let words = project.fail(2, &["prompt", "3", "--operator", "repair"]);
    assert!(words.contains("mends a failed program"), "{words}");
}
