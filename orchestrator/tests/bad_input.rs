//! Bad input gets one clear error: where, what, and the nearest right thing.

mod common;

use common::Project;
use insta::assert_snapshot;

#[test]
fn a_misspelt_key_is_named_with_its_place_and_the_right_key() {
    let project = Project::new("max_itertions: 5\n");
    assert_snapshot!(project.fail(2, &["run"]), @r"
    error: config.yaml:4:1: unknown key `max_itertions`
      hint: did you mean `max_iterations`?
    ");
}

#[test]
fn a_misspelt_key_in_a_section_is_named() {
    let project = Project::new("search:\n  num_iland: 3\n");
    assert_snapshot!(project.fail(2, &["run"]), @r"
    error: config.yaml:5:3: unknown key `num_iland`
      hint: did you mean `num_islands`?
    ");
}

#[test]
fn a_wrong_type_names_the_key_and_its_place() {
    let project = Project::new("lookahead: soon\n");
    let words = project.fail(2, &["run"]);
    assert!(words.starts_with("error: config.yaml:4:12: `lookahead`: "), "{words}");
}

#[test]
fn a_value_out_of_range_names_the_key() {
    let project = Project::new("max_wall_seconds: -1\n");
    assert!(project.fail(2, &["run"]).contains("`max_wall_seconds` must be above 0"));
    let project = Project::new("search: { exploration_ratio: 1.5 }\n");
    assert!(project.fail(2, &["run"]).contains("exploration_ratio"));
    let project = Project::new("prompt: { max_artifact_bytes: 40000 }\n");
    assert!(
        project.fail(2, &["run"]).contains("`prompt.max_artifact_bytes` is 40000, and can be 32768 at most")
    );
}

#[test]
fn a_bad_list_of_proposers_is_told_with_advice() {
    for (proposers, expected) in [
        ("[]", "config.yaml: `proposer` names nobody\n  hint: "),
        ("[rewrite, rewrite]", "config.yaml: `proposer` names `rewrite` twice\n  hint: "),
        ("[llm, rewrite]", "config.yaml: `proposer: llm` needs a model\n  hint: "),
        ("{ rewrite: 0 }", "config.yaml: `proposer` has no weight above 0\n  hint: "),
        ("[rewrit]", "unknown value `rewrit`\n  hint: did you mean `rewrite`?"),
        ("rewrit", "unknown value `rewrit`\n  hint: did you mean `rewrite`?"),
    ] {
        let project = Project::new("");
        project.write("config.yaml", &format!("problem: problem\nproposer: {proposers}\n"));
        let words = project.fail(2, &["run"]);
        assert!(words.contains(expected), "{proposers}: {words}");
    }
}

#[test]
fn a_missing_configuration_suggests_the_nearest_file() {
    let project = Project::new("");
    let words = project.fail(2, &["run", "--config", "confg.yaml"]);
    assert!(words.contains("confg.yaml: can't be read") && words.contains("did you mean"), "{words}");
}

#[test]
fn a_missing_problem_folder_says_what_a_problem_is() {
    let project = Project::new("");
    project.write("config.yaml", "problem: no-such\n");
    let words = project.fail(2, &["run"]);
    assert!(
        words.contains("`problem`: there is no folder") && words.contains("hint: a problem is a folder"),
        "{words}"
    );
}

#[test]
fn a_missing_initial_program_names_the_file_and_the_key() {
    let project = Project::new("");
    std::fs::remove_file(project.path("problem/initial.py")).unwrap();
    let words = project.fail(2, &["run"]);
    assert!(
        words.contains("PROJECT/problem/initial.py: can't be read") && words.contains("`initial_program`"),
        "{words}"
    );
}

#[test]
fn a_program_without_an_evolve_block_is_refused_with_advice() {
    let project = Project::new("");
    project.write("problem/initial.py", "x = 10\n");
    let words = project.fail(2, &["run"]);
    assert!(words.contains("initial.py") && words.contains("EVOLVE-BLOCK-START"), "{words}");
}

#[test]
fn a_block_that_is_not_closed_is_named_with_its_line() {
    let project = Project::new("");
    project.write("problem/initial.py", "a = 1\n# EVOLVE-BLOCK-START\nx = 10\n");
    let words = project.fail(2, &["run"]);
    assert!(words.contains("line 2") || words.contains(":2"), "{words}");
}

#[test]
fn an_unset_key_variable_is_named() {
    let project = Project::new("");
    project.write(
        "config.yaml",
        "problem: problem\nllm:\n  api_key: ${NO_SUCH_VARIABLE_42}\n  models: [{ name: m }]\n",
    );
    let words = project.fail(2, &["run"]);
    assert!(words.contains("NO_SUCH_VARIABLE_42 is not set") && words.contains("hint"), "{words}");
}

#[test]
fn an_unreachable_endpoint_stops_the_run_with_advice_and_can_be_resumed() {
    let project = Project::new("");
    // Port 9 (discard) on the loopback: nobody listens there.
    project.write(
        "config.yaml",
        "problem: problem\nmax_iterations: 3\nllm:\n  api_base: http://127.0.0.1:9/v1\n  retries: 1\n  \
         retry_delay: 0.01\n  models: [{ name: m }]\n",
    );
    let words = project.fail(3, &["run"]);
    assert!(words.contains("127.0.0.1:9") && words.contains("evolve resume"), "{words}");
}

#[test]
fn an_initial_program_that_fails_its_own_evaluation_stops_the_run() {
    let project = Project::new("");
    project.write("problem/evaluate.awk", "END { print \"no metrics\" }");
    let words = project.fail(2, &["run"]);
    assert!(
        words.contains("doesn't pass its own evaluation") && words.contains("evolve evaluate"),
        "{words}"
    );
}

#[test]
fn a_foreign_database_is_not_touched() {
    let project = Project::new("");
    project.write("evolve.db", "This is a text file, not a database, and somebody may still need it.\n");
    let words = project.fail(4, &["run"]);
    assert!(words.contains("evolve.db is not a database"), "{words}");
    let kept = std::fs::read_to_string(project.path("evolve.db")).unwrap();
    assert!(kept.starts_with("This is a text file"));
}

#[test]
fn asking_for_what_is_not_there_says_what_is() {
    let project = Project::new("");
    let words = project.fail(2, &["runs"]);
    assert!(words.contains("there is no database") && words.contains("evolve run"), "{words}");
    project.succeed(&["run", "--iterations", "2"]);
    assert!(project.fail(2, &["show", "77"]).contains("has no program 77"));
    assert!(project.fail(2, &["show", "9/0"]).contains("no run 9"));
    assert!(project.fail(2, &["query", "scor > 1"]).contains("score"));
    assert!(project.fail(2, &["query", "--sql", "delete from outcome"]).contains("only reading is allowed"));
}

#[test]
fn two_processes_do_not_work_on_one_run() {
    let project = Project::new("");
    project.write("problem/evaluate.awk", &format!("BEGIN {{ system(\"sleep 1\") }}\n{}", common::EVALUATOR));
    let mut first = project.command(&["run"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let waited = std::time::Instant::now();
    while !project.path("evolve.db").exists() || !project.run(&["runs"]).status.success() {
        assert!(waited.elapsed().as_secs() < 20, "the run doesn't start");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    let words = project.fail(4, &["resume"]);
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(words.contains("is being worked on by"), "{words}");
}
