//! Where the MLX set-up put everything: `harness.json`.

use std::fs;
use std::path::{Path, PathBuf};

use trial_protocol::{Harness, PROTOCOL};

/// The harness can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HarnessError {
    /// A kernel problem, but nobody said where the harness is.
    #[error("kernel problems need the MLX harness; run `make mlx` and give the path of its harness.json")]
    NotGiven,
    /// There is no such file.
    #[error("the MLX harness is not set up ({} can't be read: {message}); run `make mlx`", path.display())]
    Missing {
        /// The file looked for.
        path: PathBuf,
        /// The operating system's words.
        message: String,
    },
    /// The file is of another version, or damaged.
    #[error("{} is not a harness description ({message}); run `make mlx` again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        message: String,
    },
    /// It was built from other sources than this evaluator.
    #[error("the MLX harness in {} was built for another version of evolve; run `make mlx` again", path.display())]
    Other {
        /// The file.
        path: PathBuf,
    },
    /// A file that it names is gone.
    #[error("the MLX harness is incomplete: {} is missing; run `make mlx` again", part.display())]
    Incomplete {
        /// What is gone.
        part: PathBuf,
    },
}

/// Reads `harness.json` and looks whether what it names is there.
pub fn read(path: Option<&Path>) -> Result<Harness, HarnessError> {
    let path = path.ok_or(HarnessError::NotGiven)?;
    let text = fs::read_to_string(path)
        .map_err(|error| HarnessError::Missing { path: path.to_owned(), message: error.to_string() })?;
    let harness: Harness = serde_json::from_str(&text)
        .map_err(|error| HarnessError::Malformed { path: path.to_owned(), message: error.to_string() })?;
    if harness.protocol != PROTOCOL {
        return Err(HarnessError::Other { path: path.to_owned() });
    }
    let folders = harness
        .dependencies
        .iter()
        .chain(&harness.libraries)
        .chain(&harness.headers)
        .chain(&harness.compiled);
    let parts =
        [&harness.runner, &harness.grader, &harness.kernel_api, &harness.rustc].into_iter().chain(folders);
    let missing = parts.into_iter().find(|part| !part.exists()).cloned();
    match missing {
        Some(part) => Err(HarnessError::Incomplete { part }),
        None => Ok(harness),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_being_absent_names_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("harness.json");
        let mut errors = vec![read(None).unwrap_err(), read(Some(&file)).unwrap_err()];
        fs::write(&file, "{}").unwrap();
        errors.push(read(Some(&file)).unwrap_err());
        let stale = r#"{"runner": "/r", "grader": "/g", "kernel_api": "/k", "dependencies": [], "libraries": [], "rustc": "/c",
            "rustc_version": "rustc 1.95.0", "reference": "/m",
            "description": {"harness": "0.1", "mlx": "0.32", "backend": "cpu", "device": "a processor"}}"#;
        fs::write(&file, stale).unwrap();
        let error = read(Some(&file)).unwrap_err();
        assert!(matches!(error, HarnessError::Other { .. }), "{error}");
        errors.push(error);
        for error in errors {
            assert!(error.to_string().contains("`make mlx`"), "{error}");
        }
    }
}
