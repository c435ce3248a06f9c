//! A program of several files: proposed, evaluated, stored and written out as one.

mod common;

use common::Project;

/// `x` lies in one file, `y` in another; both should come near 100.
fn project(how: &str) -> Project {
    let project = Project::new("");
    std::fs::remove_file(project.path("problem/initial.py")).expect("the single file");
    project.write("problem/program/main.py", "# EVOLVE-BLOCK-START\nx = 10\n# EVOLVE-BLOCK-END\nprint(x)\n");
    project.write("problem/program/lib/more.py", "# EVOLVE-BLOCK-START\ny = 30\n# EVOLVE-BLOCK-END\n");
    project.write(
        "problem/problem.yaml",
        &format!("kind: command\nname: two\nlanguage: python\ninitial_program: program\n{how}\n"),
    );
    project.write(
        "problem/evaluate.sh",
        "cat \"$1/main.py\" \"$1/lib/more.py\" | awk '/^[xy] = / { d = $3 - 100; if (d < 0) d = -d; sum += d }\n\
         END { printf \"{\\\"score\\\": %.6f}\\n\", 1 / (1 + sum / 100) }'\n",
    );
    project.write(
        "problem/evaluator.py",
        "import os\n\ndef evaluate(path):\n    numbers = {}\n    for name in ('main.py', 'lib/more.py'):\n        \
         exec(open(os.path.join(path, name)).read(), numbers)\n    \
         return {'combined_score': 1 / (1 + (abs(numbers['x'] - 100) + abs(numbers['y'] - 100)) / 100)}\n",
    );
    project
}

#[test]
fn a_folder_is_evolved_as_one_program_and_written_out_as_a_folder() {
    let project = project("command: [sh, evaluate.sh]");
    project.succeed(&["run", "--iterations", "24"]);
    let kinds = project.sql("select kind, count(*) as n from outcome group by kind");
    assert_eq!(kinds[0]["kind"], "measured", "{kinds:?}");
    let initial = project.sql("select source from program where number = 0");
    assert_eq!(
        initial[0]["source"],
        "==== lib/more.py ====\n# EVOLVE-BLOCK-START\ny = 30\n# EVOLVE-BLOCK-END\n\
         ==== main.py ====\n# EVOLVE-BLOCK-START\nx = 10\n# EVOLVE-BLOCK-END\nprint(x)\n"
    );
    let changed = |name: &str, initial: &str| {
        let sources = project.sql("select source from program where number > 0");
        let with = |row: &serde_json::Value| row["source"].as_str().is_some_and(|it| !it.contains(initial));
        assert!(sources.iter().any(with), "{name} never changes");
    };
    changed("main.py", "x = 10\n");
    changed("lib/more.py", "y = 30\n");
    project.succeed(&["best", "--out", "best"]);
    let best = std::fs::read_to_string(project.path("best/main.py")).expect("a file in a folder");
    assert!(best.ends_with("print(x)\n") && project.path("best/lib/more.py").is_file(), "{best}");
    let again = project.succeed(&["evaluate", "best", "--json"]);
    let again: serde_json::Value = serde_json::from_str(&again).expect("JSON");
    let stored = project.sql("select max(score) as score from outcome");
    assert_eq!(again["outcome"]["score"], stored[0]["score"]);
    let prompt = project.succeed(&["prompt", "0"]);
    assert!(prompt.contains("The program has 2 files, each after a line `==== NAME ====`"), "{prompt}");
}

#[test]
fn an_evaluator_in_python_is_given_the_folder() {
    let project = project("python: { file: evaluator.py }");
    let report = project.succeed(&["evaluate", "problem/program", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["outcome"]["score"].as_f64(), Some(1.0 / 2.6), "{report}");
}

#[test]
fn a_folder_that_is_no_program_is_refused_with_its_reason() {
    let project = project("command: [sh, evaluate.sh]");
    project.write("problem/program/odd.txt", "==== main.py ====\n");
    let words = project.fail(2, &["run"]);
    assert!(words.contains("odd.txt") && words.contains("separates the files"), "{words}");
}
