//! A run whose every program misbehaves in another way, evaluated in Python: it ends with all iterations done, and nothing is
//! left of it.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;

use serde_json::json;

use crate::common::Project;

const EVALUATOR: &str = "
import importlib.util

def evaluate(path):
    spec = importlib.util.spec_from_file_location('program', path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    answer = program.answer()
    return answer if isinstance(answer, dict) else {'combined_score': answer} if answer is not None else None
";

/// What `answer` does, and how that ends.
const PROGRAMS: [(&str, &str); 17] = [
    ("while True: time.sleep(1)", "timeout"),
    ("while True: pass", "timeout"),
    ("subprocess.run(['sleep', '1000'])", "timeout"),
    ("os._exit(0)", "crash"),
    ("os.abort()", "crash"),
    ("os.kill(os.getpid(), 9)", "crash"),
    ("subprocess.Popen(['sleep', '1000'], start_new_session=True); os.kill(os.getpid(), 11)", "crash"),
    ("return {'combined_score': 'high'}", "rejected"),
    ("return float('nan')", "rejected"),
    ("return None", "rejected"),
    ("raise RuntimeError('no')", "crash"),
    ("sys.exit(3)", "crash"),
    ("os.closerange(0, 100); return 1.0", "crash"),
    ("subprocess.Popen(['sleep', '1000'], start_new_session=True); return 0.5", "measured"),
    ("[open(str(n), 'w').write('x' * 99999) for n in range(10**6)]", "crash"),
    ("os.kill(os.getppid(), 9); return 1.0", "crash"),
    ("return 2.0", "measured"),
];

#[test]
fn a_run_of_programs_that_misbehave_ends_with_all_iterations_done_and_no_process_left() {
    let project = Project::new("");
    let config = "problem: problem\nproposer: {replay: replies.jsonl}\nmax_iterations: 17\nlookahead: 1\n";
    project.write("config.yaml", config);
    project.write(
        "problem/problem.yaml",
        "kind: command\nname: wicked\nlanguage: python\ninitial_program: initial.py\npython: {file: evaluator.py}\nparallel: 2\n\
         limits: {trial_seconds: 1, memory_bytes: 300000000}\nsandbox: {scratch_bytes: 20000000}\n",
    );
    project.write("problem/evaluator.py", EVALUATOR);
    // So many seconds that no other process sleeps.
    let sleep = format!("7{:07}.25", std::process::id());
    let program = |lines: &str| {
        let lines = lines.replace("1000", &sleep);
        format!("import os, subprocess, sys, time\n\ndef answer():\n    {lines}\n")
    };
    let initial = format!("# EVOLVE-BLOCK-START\n{}# EVOLVE-BLOCK-END\n", program("return 1.0"));
    project.write("problem/initial.py", &initial);
    let reply =
        |(lines, _): &(&str, &str)| json!({"reply": format!("```python\n{}```", program(lines))}).to_string();
    project.write("replies.jsonl", &PROGRAMS.iter().map(reply).collect::<Vec<_>>().join("\n"));
    project.succeed(&["run"]);
    let rows = project.sql("SELECT kind FROM proposals WHERE number > 0 ORDER BY number");
    let kinds: Vec<&str> = rows.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, PROGRAMS.map(|(_, kind)| kind));
    let best = project.succeed(&["best"]);
    assert!(best.contains("2.0"), "{best}");
    let traceback = project.succeed(&["show", "11"]);
    assert!(
        traceback.contains("traceback:\nTraceback") && traceback.contains("RuntimeError: no"),
        "{traceback}"
    );
    assert_eq!(project.processes(), []);
    let all = std::process::Command::new("ps").args(["-A", "-ww", "-o", "args="]).output().unwrap();
    assert!(!common::text(&all.stdout).contains(&sleep), "a sleeper was left");
}
