//! A small real project for tests: a command problem judged by awk, in a temporary folder of its own.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its own part; a panic is a test's failure"
)]

pub(crate) mod browser;
pub(crate) mod endpoint;
pub(crate) mod server;
pub(crate) mod stored;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a configuration and a problem.
pub(crate) struct Project {
    pub(crate) folder: TempDir,
}

/// The number in the EVOLVE-BLOCK should come near 100: the score is 1 / (1 + |x - 100| / 100).
pub(crate) const EVALUATOR: &str = r#"
/^x = / { x = $3 }
END { d = x - 100; if (d < 0) d = -d; printf "{\"score\": %.6f, \"x\": %s}\n", 1 / (1 + d / 100), x }
"#;

pub(crate) const PROGRAM: &str = "# find x\n# EVOLVE-BLOCK-START\nx = 10\ny = 3\n# EVOLVE-BLOCK-END\n";

impl Project {
    /// `more` is added to the configuration.
    pub(crate) fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = Self { folder };
        project.write(
            "config.yaml",
            &format!("problem: problem\nproposer: rewrite\nmax_iterations: 12\n{more}"),
        );
        project.write(
            "problem/problem.yaml",
            "kind: command\nname: number\ndescription: find x\nlanguage: python\n\
             initial_program: initial.py\ncommand: [awk, -f, evaluate.awk]\n",
        );
        project.write("problem/initial.py", PROGRAM);
        project.write("problem/evaluate.awk", EVALUATOR);
        std::fs::create_dir(project.path("tmp")).unwrap();
        project
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// `evolve` in the project's folder, with a temporary folder inside it (so that every process it starts can be
    /// recognised by the path) and without any key.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(evolve());
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TMPDIR", self.path("tmp"))
            .env_remove("OPENAI_API_KEY")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs and expects success; returns standard output.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "evolve {arguments:?} ended with {}\n{}\n{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Runs and expects this exit code; returns standard error, with the project's folder as `PROJECT`.
    pub(crate) fn fail(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let words = self.anonymous(&text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "evolve {arguments:?} said:\n{words}");
        assert!(!words.contains("panicked"), "{words}");
        words
    }

    pub(crate) fn anonymous(&self, words: &str) -> String {
        let folder = self.folder.path().canonicalize().unwrap();
        words
            .replace(&*folder.to_string_lossy(), "PROJECT")
            .replace(&*self.folder.path().to_string_lossy(), "PROJECT")
    }

    /// Rows of a read-only SQL query.
    pub(crate) fn sql(&self, query: &str) -> Vec<Value> {
        self.rows(&["query", "--sql", query, "--format", "json"])
    }

    /// Rows of a read-only SQL query to this database.
    pub(crate) fn sql_of(&self, db: &str, query: &str) -> Vec<Value> {
        self.rows(&["query", "--db", db, "--sql", query, "--format", "json"])
    }

    fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        let rows = self.succeed(arguments);
        serde_json::from_str::<Value>(&rows).unwrap().as_array().unwrap().clone()
    }

    /// Processes that belong to this project: their command line names its folder.
    pub(crate) fn processes(&self) -> Vec<(i32, String)> {
        let listing = Command::new("ps").args(["-A", "-ww", "-o", "pid=,args="]).output().unwrap();
        let folder = self.folder.path().to_string_lossy().into_owned();
        text(&listing.stdout)
            .lines()
            .filter(|line| line.contains(&folder))
            .filter_map(|line| {
                let (pid, arguments) = line.trim().split_once(' ')?;
                Some((pid.parse().ok()?, arguments.to_owned()))
            })
            .collect()
    }
}

pub(crate) fn evolve() -> &'static Path {
    // The evaluator and the launcher stand beside it: `cargo test --workspace` builds all three.
    Path::new(env!("CARGO_BIN_EXE_evolve"))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Events of a run with `--json`.
pub(crate) fn events(stdout: &str) -> Vec<Value> {
    stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Waits, within reason, until there is something.
#[track_caller]
pub(crate) fn wait<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}
