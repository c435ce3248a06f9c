//! `kill -9` at random moments: nothing evaluated is lost, nothing proposed is proposed twice, no process stays.

#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::Project;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// Who is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Evolve,
    Evaluator,
    Launcher,
    Trial,
}

const ITERATIONS: u64 = 30;

/// A project whose evaluations take a moment, so that a kill at a random moment often meets one.
fn project() -> Project {
    let project = Project::new("");
    project.write(
        "config.yaml",
        &format!("problem: problem\nproposer: rewrite\nmax_iterations: {ITERATIONS}\nlookahead: 4\n"),
    );
    project
        .write("problem/evaluate.awk", &format!("BEGIN {{ system(\"sleep 0.04\") }}\n{}", common::EVALUATOR));
    project
}

/// What a session reported before it ended.
#[derive(Default)]
struct Reported {
    proposed: Vec<u64>,
    finished: BTreeMap<u64, Value>,
}

fn start(project: &Project, arguments: &[&str]) -> Child {
    project.command(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Reads a session's events to their end and adds them to what was reported before.
fn listen(child: &mut Child, reported: &mut Reported) {
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let Ok(line) = line else { break };
        // A line cut off by the kill is no report.
        let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
        let number = event["number"].as_u64();
        match event["event"].as_str() {
            Some("proposed") => reported.proposed.extend(number),
            Some("finished") => {
                reported.finished.insert(number.unwrap(), event);
            }
            _ => {}
        }
    }
    child.wait().unwrap();
}

fn kill(evolve: &mut Child, victim: Victim) -> bool {
    let name = match victim {
        Victim::Evolve => {
            evolve.kill().unwrap();
            return true;
        }
        Victim::Evaluator => "evolve-evaluator",
        Victim::Launcher => "evolve-launcher",
        Victim::Trial => "awk",
    };
    // The evaluator's own command line doesn't name the project, so its parent does.
    let evolve = evolve.id();
    let listing =
        std::process::Command::new("ps").args(["-A", "-ww", "-o", "pid=,ppid=,args="]).output().unwrap();
    let all: Vec<(u32, u32, String)> = common::text(&listing.stdout)
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (pid, parent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some((pid, parent, words.collect::<Vec<_>>().join(" ")))
        })
        .collect();
    let mine = |mut pid: u32| {
        while let Some((_, parent, _)) = all.iter().find(|(other, _, _)| *other == pid) {
            if *parent == evolve {
                return true;
            }
            pid = *parent;
        }
        false
    };
    let program = |arguments: &str| arguments.split(' ').next().unwrap_or_default().ends_with(name);
    let Some((pid, _, _)) = all.iter().find(|(pid, _, arguments)| program(arguments) && mine(*pid)) else {
        return false;
    };
    std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    true
}

fn outcomes(project: &Project) -> BTreeMap<u64, Value> {
    project
        .sql("select number, outcome from outcome order by number")
        .into_iter()
        .map(|row| {
            (row["number"].as_u64().unwrap(), serde_json::from_str(row["outcome"].as_str().unwrap()).unwrap())
        })
        .collect()
}

fn no_process_stays(project: &Project) {
    let begun = Instant::now();
    loop {
        let left = project.processes();
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "orphans: {left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether there is something to resume. A kill may come before the database is there, or before the run is in it.
fn has_run(project: &Project) -> bool {
    let rows = project.run(&["query", "--sql", "select count(*) as n from run", "--format", "json"]);
    let rows: Value = serde_json::from_slice(&rows.stdout).unwrap_or_default();
    rows[0]["n"].as_u64().is_some_and(|runs| runs > 0)
}

/// Kills `victim` ten times in ten sessions of one search, resumes each time, and looks at what is there at the end.
fn battery(victim: Victim, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut killed = 0;
    while killed < 10 {
        let project = project();
        let mut reported = Reported::default();
        let mut before = BTreeMap::new();
        let mut session = 0;
        loop {
            let arguments: &[&str] = if session == 0 { &["run", "--json"] } else { &["resume", "--json"] };
            let mut evolve = start(&project, arguments);
            if killed < 10 {
                std::thread::sleep(Duration::from_millis(random.random_range(60..900)));
                killed += u32::from(kill(&mut evolve, victim));
            }
            listen(&mut evolve, &mut reported);
            no_process_stays(&project);
            session += 1;
            if !has_run(&project) {
                // Killed before the run was in the database: there is nothing to resume, and nothing was reported.
                assert!(reported.finished.is_empty() && reported.proposed.is_empty());
                session = 0;
                continue;
            }
            let now = outcomes(&project);
            for (number, event) in &reported.finished {
                assert!(
                    now.contains_key(number),
                    "{victim:?}: program {number} was reported and is lost: {event}"
                );
            }
            for (number, outcome) in &before {
                assert_eq!(now.get(number), Some(outcome), "{victim:?}: outcome {number} changed");
            }
            before = now;
            if before.len() as u64 == ITERATIONS + 1 {
                break;
            }
            assert!(session < 60, "{victim:?}: the search doesn't come to its end");
        }
        reported.proposed.sort_unstable();
        let count = reported.proposed.len();
        reported.proposed.dedup();
        assert_eq!(reported.proposed.len(), count, "{victim:?}: a number was proposed twice");
        let evaluated = project.sql("select count(*) as n, count(distinct number) as d from evaluation");
        assert_eq!(
            evaluated[0]["n"], evaluated[0]["d"],
            "{victim:?}: a program was stored as evaluated twice"
        );
    }
}

#[test]
fn killing_evolve_loses_nothing() {
    battery(Victim::Evolve, 1);
}

#[test]
fn killing_the_evaluator_loses_nothing() {
    battery(Victim::Evaluator, 2);
}

#[test]
fn killing_a_launcher_loses_nothing() {
    battery(Victim::Launcher, 3);
}

#[test]
fn killing_a_trial_loses_nothing() {
    battery(Victim::Trial, 4);
}

#[test]
fn a_killed_and_resumed_search_finds_what_the_uninterrupted_one_finds() {
    let whole = project();
    whole.succeed(&["run"]);
    let broken = project();
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut arguments = vec!["run", "--json"];
    for _ in 0..4 {
        let mut evolve = start(&broken, &arguments);
        std::thread::sleep(Duration::from_millis(random.random_range(300..700)));
        evolve.kill().unwrap();
        listen(&mut evolve, &mut Reported::default());
        if has_run(&broken) {
            arguments = vec!["resume", "--json"];
        }
    }
    broken.succeed(&arguments);
    let programs = "select p.number, v.parent, v.island, p.source, v.score from program p join programs v \
                    on v.run = p.run_id and v.number = p.number order by p.number";
    assert_eq!(broken.sql(programs), whole.sql(programs));
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_cleanly_and_says_how_to_go_on() {
    let project = project();
    let mut evolve = project.command(&["run"]).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    std::process::Command::new("kill").args(["-INT", &evolve.id().to_string()]).status().unwrap();
    let begun = Instant::now();
    let status = evolve.wait().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?} to stop", begun.elapsed());
    let mut words = String::new();
    std::io::Read::read_to_string(&mut evolve.stderr.take().unwrap(), &mut words).unwrap();
    assert_eq!(status.code(), Some(130), "{words}");
    assert!(words.contains("evolve resume"), "{words}");
    no_process_stays(&project);
    project.succeed(&["resume"]);
    assert_eq!(outcomes(&project).len() as u64, ITERATIONS + 1);
}
