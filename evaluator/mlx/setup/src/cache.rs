//! The cache: folders that are complete or absent, made once, shared by all checkouts.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::problem::{self, Problem};

/// A folder that holds finished folders.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `EVOLVE_CACHE`, else `XDG_CACHE_HOME/evolve`, else `~/.cache/evolve`.
    pub(crate) fn locate(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let root = match (variable("EVOLVE_CACHE"), absolute("XDG_CACHE_HOME"), absolute("HOME")) {
            (Some(root), ..) if !root.is_empty() => std::path::absolute(root)?,
            (_, Some(base), _) => base.join("evolve"),
            (_, _, Some(home)) => home.join(".cache/evolve"),
            _ => {
                anyhow::bail!("no place for the cache: neither EVOLVE_CACHE nor HOME is set\n  hint: set one")
            }
        };
        Ok(Self { root })
    }

    /// Where the finished folder `name` is, or will be.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The folder `name`, which others fill as they go.
    pub(crate) fn kept(&self, name: &str) -> Result<PathBuf> {
        let folder = self.path(name);
        fs::create_dir_all(&folder).map_err(|error| explain(error, &folder))?;
        Ok(folder)
    }

    /// The finished folder `name`, made by `build` in a folder of its own if it isn't there yet.
    ///
    /// Two processes never build at once: the second waits and finds the work done. A build that fails or dies leaves
    /// nothing under `name`.
    pub(crate) fn folder(&self, name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let folder = self.path(name);
        if folder.is_dir() {
            return Ok(folder);
        }
        fs::create_dir_all(&self.root).map_err(|error| {
            match explain(error, &self.root).downcast::<Problem>() {
                Ok(problem) => problem,
                // Whatever else there is in the way of a folder, another place helps.
                Err(other) => {
                    Problem::CacheNotWritable { path: self.root.clone(), reason: format!("{other:#}") }
                }
            }
        })?;
        let lock_path = self.root.join(format!("{name}.lock"));
        let lock = File::create(&lock_path).map_err(|error| explain(error, &lock_path))?;
        lock.lock().with_context(|| format!("can't lock {}", lock_path.display()))?;
        if folder.is_dir() {
            return Ok(folder);
        }
        // The lock is ours, so whatever lies here was left by a build that died.
        let unfinished = self.root.join(format!("{name}.unfinished"));
        remove(&unfinished)?;
        fs::create_dir(&unfinished).map_err(|error| explain(error, &unfinished))?;
        match build(&unfinished) {
            Ok(()) => {
                fs::rename(&unfinished, &folder).map_err(|error| explain(error, &folder))?;
                Ok(folder)
            }
            Err(error) => {
                remove(&unfinished)?;
                Err(match error.root_cause().downcast_ref::<std::io::Error>() {
                    Some(io) => match problem::from_io(io, &unfinished) {
                        Some(problem) => problem.into(),
                        None => error,
                    },
                    None => error,
                })
            }
        }
    }
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(explain(error, folder)),
        _ => Ok(()),
    }
}

fn explain(error: std::io::Error, path: &Path) -> anyhow::Error {
    match problem::from_io(&error, path) {
        Some(problem) => problem.into(),
        None => anyhow::Error::new(error).context(format!("can't write {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(variables: &[(&str, &str)]) -> PathBuf {
        let find =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into());
        Cache::locate(find).unwrap().root
    }

    #[test]
    fn the_cache_lies_where_the_variables_say() {
        let home = ("HOME", "/home/eve");
        assert_eq!(located(&[("EVOLVE_CACHE", "/big"), ("XDG_CACHE_HOME", "/xdg"), home]), Path::new("/big"));
        assert_eq!(located(&[("XDG_CACHE_HOME", "/xdg"), home]), Path::new("/xdg/evolve"));
        assert_eq!(located(&[("EVOLVE_CACHE", ""), home]), Path::new("/home/eve/.cache/evolve"));
        assert_eq!(located(&[("XDG_CACHE_HOME", "relative"), home]), Path::new("/home/eve/.cache/evolve"));
        assert!(Cache::locate(|_| None).is_err());
    }

    #[test]
    fn a_folder_is_built_once_and_a_failed_build_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache { root: root.path().join("deep/cache") };
        cache.folder("thing", |_| anyhow::bail!("no luck")).unwrap_err();
        assert!(!cache.root.join("thing").exists() && !cache.root.join("thing.unfinished").exists());

        let made = cache.folder("thing", |folder| Ok(fs::write(folder.join("a"), "1")?)).unwrap();
        assert_eq!(fs::read_to_string(made.join("a")).unwrap(), "1");
        assert_eq!(cache.folder("thing", |_| panic!("built twice")).unwrap(), made);
    }

    #[test]
    fn what_a_dead_build_left_is_thrown_away() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache { root: root.path().into() };
        fs::create_dir(root.path().join("thing.unfinished")).unwrap();
        fs::write(root.path().join("thing.unfinished/old"), "").unwrap();
        let made = cache.folder("thing", |folder| Ok(fs::write(folder.join("new"), "")?)).unwrap();
        assert!(made.join("new").exists() && !made.join("old").exists());
    }

    #[test]
    fn a_file_in_the_way_is_named_with_a_remedy() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        for place in ["file", "file/below"] {
            let cache = Cache { root: root.path().join(place) };
            let error = cache.folder("thing", |_| Ok(())).unwrap_err().to_string();
            assert!(error.contains(place) && error.contains("set EVOLVE_CACHE"), "{error}");
        }
    }

    #[test]
    fn two_at_once_build_once() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache { root: root.path().into() };
        let builds = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    cache.folder("thing", |folder| {
                        builds.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        Ok(fs::write(folder.join("a"), "")?)
                    })
                });
            }
        });
        assert_eq!(builds.into_inner(), 1);
    }
}
