//! Which Python, and where it has its packages.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;

use crate::stop::Stop;

/// The oldest version whose language and library our side of the conversation uses.
const OLDEST: [u32; 2] = [3, 8];

/// How long it may take to say who it is. On a cold disk that is seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks an interpreter about itself. Any Python 3, and 2, can read it.
const QUESTION: &str = "import json, sys
print(json.dumps({
    'version': list(sys.version_info[:3]),
    'executable': sys.executable,
    'prefixes': sorted({getattr(sys, name, sys.prefix) for name in
        ('prefix', 'exec_prefix', 'base_prefix', 'base_exec_prefix')}),
    'path': [path for path in sys.path if path],
}))";

/// What belongs to an installation below its prefix; as in `places`, a prefix may be somebody's home folder.
const PARTS: [&str; 6] = ["bin", "lib", "lib64", "include", "share", "pyvenv.cfg"];

/// A Python that has told about itself.
#[derive(Debug, Clone)]
pub(super) struct Interpreter {
    pub(super) executable: PathBuf,
    /// Such as `3.12.1`.
    pub(super) version: String,
    prefixes: Vec<PathBuf>,
    /// Where it looks for modules.
    pub(super) path: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Told {
    version: Vec<u32>,
    executable: PathBuf,
    prefixes: Vec<PathBuf>,
    path: Vec<PathBuf>,
}

impl Interpreter {
    /// Looks for what the problem names: an interpreter, a virtual environment's folder, or a name in `search_path`. It is asked outside of
    /// any sandbox, as it is the user's own and no candidate is near.
    pub(super) async fn find(named: &Path, search_path: &str) -> Result<Self, Stop> {
        let program = locate(named, search_path).map_err(Stop::Broken)?;
        let broken = |what: String| {
            let program = program.display();
            Stop::Broken(format!("`python: interpreter`: {program} {what}\n  hint: {HINT}"))
        };
        let mut command = tokio::process::Command::new(&program);
        command
            .args(["-B", "-c", QUESTION])
            .env_clear()
            .env("PATH", search_path)
            .current_dir("/")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output())
            .await
            .map_err(|_| broken("doesn't answer".to_owned()))?
            .map_err(|error| broken(format!("can't be started: {error}")))?;
        let words = String::from_utf8_lossy(&output.stdout);
        let told: Told =
            words.lines().last().and_then(|line| serde_json::from_str(line).ok()).ok_or_else(|| {
                let words = String::from_utf8_lossy(&output.stderr);
                broken(format!("is no Python that works: {}", super::super::last_lines(&words, 3)))
            })?;
        let version = told.version.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
        if told.version.get(..2).is_none_or(|version| version < &OLDEST[..]) {
            return Err(broken(format!("is Python {version}; 3.8 or newer is needed")));
        }
        let path = told.path.into_iter().filter(|path| path.is_absolute() && path.exists()).collect();
        Ok(Self { executable: told.executable, version, prefixes: told.prefixes, path })
    }

    /// What it has to read.
    pub(super) fn places(&self) -> Vec<PathBuf> {
        let parts = |prefix: &PathBuf| PARTS.map(|part| prefix.join(part));
        let mut places: Vec<PathBuf> =
            self.prefixes.iter().filter(|prefix| **prefix != Path::new("/")).flat_map(parts).collect();
        places.extend(self.path.iter().filter(|path| path.components().count() > 2).cloned());
        places.push(self.executable.clone());
        // A virtual environment's interpreter is a link, perhaps by way of others.
        let mut link = self.executable.clone();
        while let Ok(target) = std::fs::read_link(&link) {
            link = link.parent().unwrap_or(Path::new("/")).join(target);
            if places.len() > 1000 {
                break;
            }
            places.extend(normal(&link));
        }
        places.extend(self.executable.canonicalize());
        places
    }
}

const HINT: &str = "install Python 3.8 or newer, activate your environment before you start evolve, or name one in problem.yaml, \
                    e.g. `python: {file: evaluator.py, interpreter: .venv}`";

fn locate(named: &Path, search_path: &str) -> Result<PathBuf, String> {
    if named.is_dir() {
        let inside = ["bin/python3", "bin/python"].map(|name| named.join(name));
        return inside.into_iter().find(|path| path.is_file()).ok_or_else(|| {
            format!(
                "`python: interpreter`: the folder {} has no bin/python3\n  hint: {HINT}",
                named.display()
            )
        });
    }
    if named.components().count() > 1 {
        return if named.is_file() {
            Ok(named.to_owned())
        } else {
            Err(format!("`python: interpreter`: there is no {}\n  hint: {HINT}", named.display()))
        };
    }
    let found =
        std::env::split_paths(search_path).map(|folder| folder.join(named)).find(|path| path.is_file());
    found.ok_or_else(|| {
        format!(
            "`python: interpreter`: there is no {} in PATH ({search_path})\n  hint: {HINT}",
            named.display()
        )
    })
}

/// A path without `..`, which a sandbox can't be built with.
fn normal(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?.canonicalize().ok()?;
    Some(folder.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_interpreter_in_the_path_says_who_it_is() {
        let interpreter =
            Interpreter::find(Path::new("python3"), "/usr/bin:/bin:/usr/local/bin").await.unwrap();
        assert!(interpreter.version.starts_with("3."), "{}", interpreter.version);
        assert!(interpreter.path.iter().any(|path| path.join("json").is_dir()), "{:?}", interpreter.path);
    }

    #[tokio::test]
    async fn an_interpreter_that_is_missing_or_none_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        for (named, words) in [
            (PathBuf::from("python9"), "no python9 in PATH"),
            (folder.path().join("python"), "there is no"),
            (folder.path().to_owned(), "has no bin/python3"),
            (PathBuf::from("true"), "no Python that works"),
        ] {
            let Err(Stop::Broken(error)) = Interpreter::find(&named, "/usr/bin:/bin").await else {
                panic!("{} was found", named.display())
            };
            assert!(error.contains(words) && error.contains("hint: install Python"), "{error}");
        }
    }
}
