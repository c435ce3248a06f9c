//! The configurations that may be run: those in the folders that the server was given, and nothing that only looks as if it were there.

use std::path::{Path, PathBuf};

use serde::Serialize;
use utoipa::ToSchema;

use super::super::problem::Problem;

/// Folders below an allowed one that are looked into for the list.
const DEPTH: usize = 4;

/// Configurations that are listed.
const MOST: usize = 500;

/// Folders whose configurations may be run.
#[derive(Debug)]
pub struct Configs {
    /// Canonical.
    folders: Vec<PathBuf>,
}

/// A configuration that may be started.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct FoundConfig {
    /// What to call it: its path from its allowed folder on.
    pub name: String,
    /// The allowed folder.
    pub folder: String,
}

impl Configs {
    pub(super) fn new(folders: Vec<PathBuf>) -> Self {
        Self { folders }
    }

    /// Whether there is any folder.
    pub fn any(&self) -> bool {
        !self.folders.is_empty()
    }

    /// Those that may be started, in order.
    pub fn list(&self) -> Vec<FoundConfig> {
        let mut found = Vec::new();
        for folder in &self.folders {
            look(folder, folder, DEPTH, &mut found);
        }
        found.sort();
        found.dedup();
        found
    }

    /// The file that a name means: relative to an allowed folder, or absolute and in one.
    ///
    /// # Errors
    /// There is none, or not where it may be. Both are answered alike, so that nobody learns what is elsewhere on the disk.
    pub(super) fn find(&self, name: &str) -> Result<PathBuf, Problem> {
        self.any_or_refuse()?;
        let found = self.folders.iter().find_map(|folder| {
            let path = folder.join(name).canonicalize().ok()?;
            (is_config(&path) && path.is_file() && self.holds(&path)).then_some(path)
        });
        found.ok_or_else(|| {
            Problem::forbidden(format!(
                "{name:?} is no configuration in a folder that --configs names; the list of configurations has those that may be started"
            ))
        })
    }

    /// Whether what a stored run was started from lies where it may.
    ///
    /// # Errors
    /// It doesn't.
    pub(super) fn check(&self, path: &Path) -> Result<(), Problem> {
        self.any_or_refuse()?;
        if path.canonicalize().is_ok_and(|path| self.holds(&path)) {
            return Ok(());
        }
        Err(Problem::forbidden(
            "this run was started from a file that isn't (or isn't any more) in a folder that --configs names; go on with it in a \
             terminal with `evolve resume`",
        ))
    }

    fn holds(&self, canonical: &Path) -> bool {
        self.folders.iter().any(|folder| canonical.starts_with(folder))
    }

    fn any_or_refuse(&self) -> Result<(), Problem> {
        if self.any() {
            return Ok(());
        }
        Err(Problem::forbidden(
            "this server starts nothing: it was given no folder of configurations (--configs DIR)",
        ))
    }
}

fn is_config(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Symbolic links are left out: where they lead is only known when one is asked for by name.
fn look(root: &Path, folder: &Path, depth: usize, found: &mut Vec<FoundConfig>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        if found.len() >= MOST {
            return;
        }
        if kind.is_dir() && depth > 0 && !entry.file_name().as_encoded_bytes().starts_with(b".") {
            look(root, &path, depth - 1, found);
        } else if kind.is_file()
            && is_config(&path)
            && let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str)
            && looks_like_a_run(&path)
        {
            found.push(FoundConfig { name: name.to_owned(), folder: root.display().to_string() });
        }
    }
}

/// Problems and rules are YAML too. A configuration of ours says which problem it is for.
fn looks_like_a_run(path: &Path) -> bool {
    const LARGEST: u64 = 1 << 20;
    path.metadata().is_ok_and(|file| file.len() < LARGEST)
        && std::fs::read_to_string(path)
            .is_ok_and(|text| text.lines().any(|line| line.starts_with("problem:")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> (tempfile::TempDir, Configs) {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("allowed/a.yaml", "problem: p\n");
        write("allowed/deep/b.yml", "# c\nproblem: p\n");
        write("allowed/problem/problem.yaml", "kind: command\n");
        write("allowed/notes.txt", "problem: p\n");
        write("allowed/.hidden/c.yaml", "problem: p\n");
        write("outside/o.yaml", "problem: p\n");
        write("allowed-too/t.yaml", "problem: p\n");
        std::os::unix::fs::symlink(folder.path().join("outside"), folder.path().join("allowed/link"))
            .unwrap();
        std::os::unix::fs::symlink(
            folder.path().join("outside/o.yaml"),
            folder.path().join("allowed/l.yaml"),
        )
        .unwrap();
        let configs = Configs::new(vec![folder.path().join("allowed").canonicalize().unwrap()]);
        (folder, configs)
    }

    #[test]
    fn what_may_be_started_is_listed_by_name() {
        let (_folder, configs) = project();
        let names: Vec<String> = configs.list().into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["a.yaml", "deep/b.yml"]);
    }

    #[test]
    fn a_name_leads_nowhere_but_into_the_folder() {
        let (folder, configs) = project();
        let root = folder.path().canonicalize().unwrap();
        assert_eq!(configs.find("a.yaml").unwrap(), root.join("allowed/a.yaml"));
        assert_eq!(configs.find("deep/../a.yaml").unwrap(), root.join("allowed/a.yaml"));
        assert_eq!(
            configs.find(&root.join("allowed/deep/b.yml").to_string_lossy()).unwrap(),
            root.join("allowed/deep/b.yml")
        );
        let outside = root.join("outside/o.yaml");
        let beside = root.join("allowed-too/t.yaml");
        for name in [
            "../outside/o.yaml",
            "deep/../../outside/o.yaml",
            "link/o.yaml",
            "l.yaml",
            "../allowed-too/t.yaml",
            "notes.txt",
            "deep",
            "nothing.yaml",
            "a.yaml/",
            "",
            ".",
            "a.yaml\0",
            &outside.to_string_lossy(),
            &beside.to_string_lossy(),
            "/etc/passwd",
        ] {
            assert_eq!(configs.find(name).unwrap_err().status, 403, "{name:?}");
        }
        assert!(configs.check(&root.join("allowed/l.yaml")).is_err());
        assert!(configs.check(&root.join("allowed/a.yaml")).is_ok());
    }

    #[test]
    fn without_a_folder_nothing_may_be_started() {
        let problem = Configs::new(Vec::new()).find("a.yaml").unwrap_err();
        assert!(problem.detail.contains("--configs"), "{problem:?}");
    }
}
