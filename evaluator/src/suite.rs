//! The attack suite: programs that try to forge a score or to reach out of the sandbox, and honest ones beside them.
//!
//! A suite is a folder of source files, described in `attacks/README.md`. This module reads it and judges what became of each
//! case; whoever runs it (`evolve doctor --attacks`) brings the evaluator and the decoys.

mod case;
mod verdict;

use std::path::{Path, PathBuf};
use std::{fs, io};

pub use self::case::{Case, Intent, Text};
pub use self::verdict::{Fence, Finding, judge};

/// Deeper folders are not looked into: links may go round in circles.
const DEEPEST: usize = 16;

/// A suite can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuiteError {
    /// A file or folder.
    #[error("{}: can't be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is neither an attack nor honest.
    #[error(
        "{}: is it an attack or honest? Put it below a folder named `attacks` or `honest`, or write `kind: attack` or \
         `kind: honest` in a comment at its beginning",
        path.display()
    )]
    Unclear {
        /// Which.
        path: PathBuf,
    },
    /// A header that can't be followed.
    #[error("{}: {message}", path.display())]
    Header {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// There is nothing to run.
    #[error("{}: no *.rs or *.py file in there", path.display())]
    Empty {
        /// Which folder.
        path: PathBuf,
    },
}

/// All cases below a folder, in the order of their paths. A folder with a `problem.yaml` holds no cases.
pub fn read(folder: &Path) -> Result<Vec<Case>, SuiteError> {
    let absolute =
        folder.canonicalize().map_err(|source| SuiteError::Read { path: folder.into(), source })?;
    // The folder's own name counts too: `--attacks some/honest`.
    let above = absolute.parent().unwrap_or(&absolute);
    let mut files = Vec::new();
    if absolute.is_file() {
        files.push(absolute.clone());
    } else {
        collect(&absolute, DEEPEST, &mut files)?;
    }
    files.sort();
    let cases: Vec<Case> =
        files.iter().map(|file| Case::read(file, above, &absolute)).collect::<Result<_, _>>()?;
    if cases.is_empty() { Err(SuiteError::Empty { path: folder.to_owned() }) } else { Ok(cases) }
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), SuiteError> {
    let failed = |source| SuiteError::Read { path: folder.to_owned(), source };
    if folder.join("problem.yaml").is_file() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            if depth > 0 {
                collect(&path, depth - 1, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "py") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn cases_are_found_by_the_folders_they_lie_in() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["attacks/a.rs", "attacks/deep/b.py", "x/honest/c.rs", "attacks/honest/d.py", "attacks/notes.md"]
        {
            write(folder.path(), name, "");
        }
        write(folder.path(), "attacks/problem-mine/problem.yaml", "");
        write(folder.path(), "attacks/problem-mine/judge.py", "");
        write(folder.path(), "e.py", "# kind: honest\n");
        let cases = read(folder.path()).unwrap();
        let found: Vec<_> = cases.iter().map(|case| (case.name.as_str(), case.intent)).collect();
        let (attack, honest) = (Intent::Attack, Intent::Honest);
        let expected = [
            ("attacks/a.rs", attack),
            ("attacks/deep/b.py", attack),
            ("attacks/honest/d.py", honest),
            ("e.py", honest),
            ("x/honest/c.rs", honest),
        ];
        assert_eq!(found, expected);
        assert_eq!(read(&folder.path().join("x/honest")).unwrap()[0].intent, honest);
    }

    #[test]
    fn what_is_neither_attack_nor_honest_is_an_error_not_skipped() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "x.py", "print()\n");
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("x.py") && error.contains("kind: attack"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(read(empty.path()), Err(SuiteError::Empty { .. })));
    }

    /// The suite that comes with this crate.
    #[test]
    fn the_built_in_suite_is_as_large_as_promised_and_names_its_twins() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("attacks");
        let cases = read(&folder).unwrap();
        let attacks: Vec<_> = cases.iter().filter(|case| case.intent == Intent::Attack).collect();
        let kernels = cases.iter().filter(|case| case.intent == Intent::Honest && case.is_kernel()).count();
        assert!(attacks.len() >= 60 && kernels >= 30, "{} attacks, {kernels} honest kernels", attacks.len());
        for case in attacks {
            let twin = case.twin.as_deref().unwrap_or_else(|| panic!("{}: no twin", case.name));
            let exists = cases
                .iter()
                .any(|other| other.intent == Intent::Honest && other.path.file_name().unwrap() == twin);
            assert!(exists, "{}: no honest {twin}", case.name);
            assert!(case.fence.is_some() && !case.catalogue.is_empty(), "{}", case.name);
        }
    }

    #[test]
    fn the_small_kernel_problems_start_from_the_same_programs_as_the_real_ones() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (own, real) in [("problem-kernel", "quantized-lora"), ("problem-dora", "quantized-dora")] {
            let own = root.join("attacks").join(own).join("initial.rs");
            let real = root.join("../problems").join(real).join("initial.rs");
            assert_eq!(fs::read_to_string(own).unwrap(), fs::read_to_string(real).unwrap());
        }
    }
}
