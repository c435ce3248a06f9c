//! `kill -9` of everything at once, at random moments of a search at full speed, when many proposals and evaluations share a
//! commit: what was reported is there, and nothing of it is done again.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::Project;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// More than can be done between the kills.
const ENDLESS: &str = "1000000";

/// A model that answers at once, never twice the same.
struct Model(AtomicU64);

impl Respond for Model {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        let program = program(self.0.fetch_add(1, Ordering::Relaxed) + 11);
        let message = json!({"role": "assistant", "content": format!("```python\n{program}```\n")});
        ResponseTemplate::new(200)
            .set_body_json(json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}))
    }
}

fn program(x: u64) -> String {
    format!("# EVOLVE-BLOCK-START\nx = {x}\n# EVOLVE-BLOCK-END\n")
}

fn project(model: &str) -> Project {
    let project = Project::new("");
    project.write(
        "config.yaml",
        &format!(
            "problem: problem\nproposer: llm\ndiff_based_evolution: false\nmax_iterations: {ENDLESS}\nlookahead: 32\n\
             llm: {{ api_base: '{model}/v1', concurrency: 16, models: [{{ name: stub }}] }}\n"
        ),
    );
    project.write(
        "problem/problem.yaml",
        "kind: command\nname: number\nlanguage: python\ninitial_program: initial.py\nparallel: 2\n\
         python: { file: evaluator.py }\n",
    );
    project.write("problem/initial.py", &program(10));
    project.write(
        "problem/evaluator.py",
        "def evaluate(path):\n    return {'combined_score': float(open(path).read().split('x = ')[1].split()[0])}\n",
    );
    project
}

/// What all sessions have reported.
#[derive(Default)]
struct Reported {
    proposed: BTreeSet<u64>,
    finished: BTreeMap<u64, f64>,
}

impl Reported {
    /// Reads a session's events to their end, and looks whether anything in them was reported before.
    fn listen(&mut self, evolve: &mut Child) {
        let before: BTreeSet<u64> = self.finished.keys().copied().collect();
        for line in BufReader::new(evolve.stdout.take().unwrap()).lines().map_while(Result::ok) {
            // A line cut off by the kill is no report.
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            let number = event["number"].as_u64();
            match event["event"].as_str() {
                Some("proposed") => {
                    let number = number.unwrap();
                    assert!(self.proposed.insert(number), "number {number} was proposed twice");
                }
                Some("evaluating") => {
                    assert!(!before.contains(&number.unwrap()), "evaluated again after its report: {event}");
                }
                Some("finished") => {
                    let score = event["score"].as_f64().unwrap_or_else(|| panic!("not measured: {event}"));
                    let known = self.finished.insert(number.unwrap(), score);
                    assert_eq!(known, None, "reported twice: {event}");
                }
                _ => {}
            }
        }
        evolve.wait().unwrap();
    }
}

/// A process and all that it started, and what these did, in one blow.
fn kill_everything(evolve: u32) {
    let listing = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().unwrap();
    let all: Vec<(u32, u32)> = common::text(&listing.stdout)
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        })
        .collect();
    let mut victims = vec![evolve];
    let mut next = 0;
    while let Some(parent) = victims.get(next).copied() {
        victims.extend(all.iter().filter(|(_, its)| *its == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    // Some may have ended by themselves meanwhile, which `kill` says.
    let victims = victims.iter().map(ToString::to_string);
    Command::new("kill").arg("-9").args(victims).stderr(Stdio::null()).status().unwrap();
}

fn no_process_stays(project: &Project) {
    let begun = Instant::now();
    while let left @ [_, ..] = &project.processes()[..] {
        assert!(begun.elapsed() < Duration::from_secs(10), "orphans: {left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// By number: its score, if it has one yet, and what the model replied.
type Stored = BTreeMap<u64, (Option<f64>, String)>;

fn stored(project: &Project) -> Stored {
    let rows = project.sql(
        "select p.number, o.score, coalesce(p.reply, '') as reply from proposal p left join outcome o \
         on o.run_id = p.run_id and o.number = p.number",
    );
    let stored = |row: Value| {
        let reply = row["reply"].as_str().unwrap().to_owned();
        (row["number"].as_u64().unwrap(), (row["score"].as_f64(), reply))
    };
    rows.into_iter().map(stored).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_everything_at_full_speed_loses_nothing_and_repeats_nothing() {
    let kills = if std::env::var_os("EVOLVE_TEST_FULL").is_some() { 10 } else { 3 };
    let model = MockServer::builder().disable_request_recording().start().await;
    Mock::given(any()).respond_with(Model(AtomicU64::new(0))).mount(&model).await;
    let uri = model.uri();
    let search = move || {
        let project = project(&uri);
        let mut random = ChaCha8Rng::seed_from_u64(9);
        let mut reported = Reported::default();
        let mut before = Stored::new();
        let mut killed_at_work = 0;
        let mut sessions = 0;
        while killed_at_work < kills {
            sessions += 1;
            assert!(sessions < 5 * kills, "the search gets nowhere: {killed_at_work} kills met work");
            let verb = if before.is_empty() { "run" } else { "resume" };
            let mut evolve = project
                .command(&[verb, "--json"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let (pid, life) = (evolve.id(), Duration::from_millis(random.random_range(400..2500)));
            let killer = std::thread::spawn(move || {
                std::thread::sleep(life);
                kill_everything(pid);
            });
            let count = reported.finished.len();
            reported.listen(&mut evolve);
            killer.join().unwrap();
            no_process_stays(&project);
            if reported.proposed.is_empty() {
                // It had not come to its first program; perhaps not even to a database.
                let _ = std::fs::remove_file(project.path("evolve.db"));
                let _ = std::fs::remove_file(project.path("evolve.db-wal"));
                let _ = std::fs::remove_file(project.path("evolve.db-shm"));
                reported = Reported::default();
                continue;
            }
            killed_at_work += usize::from(reported.finished.len() > count);
            let now = stored(&project);
            for (number, score) in &reported.finished {
                assert_eq!(now.get(number).and_then(|it| it.0), Some(*score), "program {number} is lost");
            }
            for number in &reported.proposed {
                assert!(now.contains_key(number), "proposal {number} was reported and is lost");
            }
            for (number, (score, reply)) in &before {
                let is = &now[number];
                assert_eq!(&is.1, reply, "proposal {number} was made again");
                assert!(score.is_none() || is.0 == *score, "program {number} was evaluated again");
            }
            before = now;
        }
        // To its end: some more than there are, so that what had no outcome gets one.
        let last = before.keys().last().unwrap() + 40;
        let mut evolve = project
            .command(&["resume", "--json", "--iterations", &last.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        reported.listen(&mut evolve);
        let end = stored(&project);
        assert_eq!(end.keys().copied().collect::<Vec<_>>(), (0..=last).collect::<Vec<_>>());
        for (number, (score, reply)) in &end {
            assert!(score.is_some(), "program {number} has no outcome");
            assert!(before.get(number).is_none_or(|it| it.1 == *reply), "proposal {number} was made again");
        }
        let evaluated = project.sql("select count(*) as n, count(distinct number) as d from evaluation");
        assert_eq!(evaluated, [json!({"n": last + 1, "d": last + 1})]);
    };
    tokio::task::spawn_blocking(search).await.unwrap();
}
