//! The commands as a user meets them, on a real search.

mod common;

use common::{Project, events};
use insta::assert_snapshot;
use serde_json::Value;

/// A project with a finished search.
fn searched() -> Project {
    let project = Project::new("");
    project.succeed(&["run"]);
    project
}

#[test]
fn a_run_with_json_tells_every_step_as_one_object_a_line() {
    let project = Project::new("");
    let output = project.run(&["run", "--json"]);
    assert!(output.status.success());
    let stdout = common::text(&output.stdout);
    let events = events(&stdout);
    assert_eq!(events.len(), stdout.lines().count(), "every line is an event");
    assert_eq!(events.first().unwrap()["event"], "run_started");
    assert_eq!(events.last().unwrap()["event"], "run_ended");
    let finished: Vec<u64> =
        events.iter().filter(|e| e["event"] == "finished").map(|e| e["number"].as_u64().unwrap()).collect();
    assert_eq!(finished, (0..=12).collect::<Vec<_>>(), "told in order of numbers");
    assert_eq!(common::text(&output.stderr), "", "nothing else is said");
}

#[test]
fn piped_output_is_plain_lines_without_colour() {
    let project = Project::new("");
    let output = project.run(&["run"]);
    for text in [&output.stdout, &output.stderr] {
        assert!(!text.contains(&0x1b), "{}", common::text(text));
        assert!(!text.contains(&b'\r'));
    }
    let progress = common::text(&output.stderr);
    assert!(progress.contains("run 1 starts: number") && progress.contains("program 12: "), "{progress}");
    let report = common::text(&output.stdout);
    assert!(
        report.contains("run 1: 12 proposals, 12 evaluated") && report.contains("best program: 1/"),
        "{report}"
    );
}

#[test]
fn the_same_seed_gives_the_same_search_and_another_seed_another() {
    let programs = |project: &Project| project.sql("select number, source from program order by number");
    let (one, same, other) = (searched(), searched(), Project::new(""));
    other.succeed(&["run", "--seed", "7"]);
    assert_eq!(programs(&one), programs(&same));
    assert_ne!(programs(&one), programs(&other));
}

#[test]
fn the_search_climbs_and_best_writes_the_program_to_a_file() {
    let project = Project::new("");
    project.succeed(&["run", "--iterations", "60"]);
    project.succeed(&["best", "--out", "best.py"]);
    let best = std::fs::read_to_string(project.path("best.py")).unwrap();
    assert!(best.contains("EVOLVE-BLOCK-START") && best != common::PROGRAM, "{best}");
    let scores = project
        .sql("select max(score) as best, min(case number when 0 then score end) as first from outcome");
    assert!(scores[0]["best"].as_f64() > scores[0]["first"].as_f64(), "{scores:?}");
    // What the database says of it is what the evaluator says of the file.
    let report: Value = serde_json::from_str(&project.succeed(&["evaluate", "best.py", "--json"])).unwrap();
    assert_eq!(report["outcome"]["score"], scores[0]["best"]);
}

#[test]
fn show_lineage_diff_and_query_speak_of_the_same_program() {
    let project = searched();
    let rows = project.succeed(&[
        "query",
        "number > 0 and kind = measured order by score desc limit 1",
        "--format",
        "json",
    ]);
    let best = &serde_json::from_str::<Value>(&rows).unwrap()[0];
    let number = best["number"].to_string();
    let shown: Value = serde_json::from_str(&project.succeed(&["show", &number, "--json"])).unwrap();
    assert_eq!(shown["outcome"]["score"], best["score"]);
    let words = project.succeed(&["show", &format!("1/{number}")]);
    assert!(words.contains(&format!("program 1/{number}")) && words.contains("source:"), "{words}");
    let lineage = project.succeed(&["lineage", &number, "--format", "json"]);
    let lineage: Vec<Value> = serde_json::from_str(&lineage).unwrap();
    assert_eq!(lineage.first().unwrap()["number"], 0);
    assert_eq!(lineage.last().unwrap()["number"].to_string(), number);
    let diff = project.succeed(&["diff", "0", &number]);
    assert!(diff.starts_with(&format!("--- program 1/0\n+++ program 1/{number}\n@@")), "{diff}");
}

#[test]
fn runs_are_listed_and_csv_is_for_machines() {
    let project = searched();
    let csv = project.succeed(&["runs", "--format", "csv"]);
    let mut lines = csv.lines();
    assert_eq!(
        lines.next(),
        Some("run,started,title,seed,proposals,evaluated,pending,best,score,improved,seconds")
    );
    assert!(lines.next().unwrap().starts_with("1,20"), "{csv}");
}

#[test]
fn resuming_goes_on_to_the_new_total_and_a_finished_run_just_says_so() {
    let project = searched();
    project.succeed(&["resume", "--iterations", "15"]);
    assert_eq!(project.sql("select count(*) as n from outcome")[0]["n"], 16);
    project.succeed(&["resume"]);
    project.succeed(&["run", "--resume"]);
    assert_eq!(project.sql("select count(*) as n from outcome")[0]["n"], 16);
    assert_eq!(project.sql("select count(*) as n from run")[0]["n"], 1);
}

#[test]
fn a_run_is_resumed_from_another_folder_with_what_was_stored() {
    let project = searched();
    project.write("config.yaml", "this is: [no configuration any more\n");
    std::fs::create_dir(project.path("elsewhere")).unwrap();
    let output = project
        .command(&["resume", "--iterations", "14", "--db", "../evolve.db"])
        .current_dir(project.path("elsewhere"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", common::text(&output.stderr));
}

#[test]
fn budgets_of_time_and_score_end_a_run_cleanly() {
    let project = Project::new("");
    let target = common::text(&project.run(&["run", "--target-score", "0.54", "--iterations", "60"]).stderr);
    assert!(target.contains("ended: the target score is reached"), "{target}");
    let project = Project::new("");
    project
        .write("problem/evaluate.awk", &format!("BEGIN {{ system(\"sleep 0.2\") }}\n{}", common::EVALUATOR));
    let output = project.run(&["run", "--max-wall-seconds", "0.5", "--iterations", "1000"]);
    let words = common::text(&output.stderr);
    assert!(output.status.success() && words.contains("ended: the wall-time budget is spent"), "{words}");
    assert_eq!(
        project.sql("select count(*) as n from programs where kind is null")[0]["n"],
        0,
        "all was finished"
    );
}

#[test]
fn doctor_says_what_works_and_fails_where_something_does_not() {
    let project = Project::new("");
    let words = project.succeed(&["doctor"]);
    assert!(words.contains("ok    evaluator") && words.contains("rewrite"), "{words}");
    project.write("config.yaml", "problem: nowhere\n");
    let output = project.run(&["doctor"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(common::text(&output.stdout).contains("FAIL  configuration"));
}

#[test]
fn a_failing_program_file_ends_evaluate_with_its_own_exit_code() {
    let project = Project::new("");
    project.write("broken.py", "# find x\n# EVOLVE-BLOCK-START\nx = no-number\n# EVOLVE-BLOCK-END\n");
    project.write("problem/evaluate.awk", "/no-number/ { exit 3 }\n/^x = / { print \"{\\\"score\\\": 1}\" }");
    let output = project.run(&["evaluate", "broken.py"]);
    assert_eq!(output.status.code(), Some(6), "{}", common::text(&output.stdout));
    project.write("outside.py", "# changed\n# EVOLVE-BLOCK-START\nx = 1\n# EVOLVE-BLOCK-END\n");
    assert!(common::text(&project.run(&["evaluate", "outside.py"]).stdout).contains("EVOLVE-BLOCK"));
}

#[test]
fn help_names_every_command() {
    let project = Project::new("");
    assert_snapshot!(project.succeed(&["--help"]));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_the_run_with_advice_and_loses_nothing() {
    let project = Project::new("");
    std::fs::create_dir(project.path("small")).unwrap();
    // A file system of our own in a namespace of our own: works as root and as an ordinary user.
    let script = "mount -t tmpfs -o size=700k none small && { \
        \"$0\" run --db small/evolve.db --iterations 4000; echo \"first: $?\"; \
        \"$0\" query --db small/evolve.db --sql 'select count(*) as n from outcome' --format csv; \
        mount -o remount,size=40m small; \
        \"$0\" resume --db small/evolve.db --iterations 30; echo \"second: $?\"; \
        \"$0\" query --db small/evolve.db --sql 'select count(*) as n from outcome' --format csv; }";
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(common::evolve())
        .current_dir(project.folder.path())
        .env("TMPDIR", project.path("tmp"))
        .output()
        .unwrap();
    let (stdout, stderr) = (common::text(&output.stdout), common::text(&output.stderr));
    assert!(stdout.contains("first: 4"), "{stdout}\n{stderr}");
    assert!(stderr.contains("no space left for") && stderr.contains("evolve resume"), "{stderr}");
    let counts: Vec<u64> = stdout.lines().filter_map(|line| line.parse().ok()).collect();
    let reported = stderr.lines().filter(|line| line.starts_with("program ")).count() as u64;
    assert!(stdout.contains("second: 0"), "{stdout}\n{stderr}");
    assert!(counts[0] > 0 && counts[1] >= counts[0] && counts[1] >= reported, "{stdout}\n{stderr}");
}
