//! What MLX's CUDA backend compiled in the initial program's first trial.
//!
//! What a compiled step fuses is a program's own operations, which no process without that program compiles, and it takes seconds in every
//! trial. So the first trial hands over what it compiled, and later processes with a program in them load it. The grader never does, for a
//! program's process made it.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;

use tempfile::TempDir;
use trial_protocol::KERNEL_FILES;

use crate::compile::text;
use crate::scratch::{Scratch, is_inside, write_shared_within};
use crate::stop::Stop;

/// Nothing until the first trial has ended well.
#[derive(Debug, Default)]
pub(crate) struct InitialKernels(OnceLock<TempDir>);

impl InitialKernels {
    /// Where they are, for whoever is shown the folder.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.0.get().map(TempDir::path)
    }

    /// Keeps what was handed over, names and contents. If that can't be done later trials are slower, no more.
    pub(crate) fn keep(&self, scratch: &Scratch, compiled: &[(String, Vec<u8>)]) {
        let kept = scratch.shared_folder("initial").and_then(|folder| {
            for (name, content) in compiled.iter().filter(|(name, _)| is_kernels_name(name)) {
                write_shared_within(folder.path(), name, content)?;
            }
            Ok(folder)
        });
        match kept {
            Ok(folder) => drop(self.0.set(folder)),
            Err(error) => {
                tracing::warn!(%error, "what MLX compiled for the initial program can't be kept; each trial compiles it again");
            }
        }
    }
}

/// Folders for a variable that names several.
pub(crate) fn joined(folders: [&Path; 2]) -> Result<String, Stop> {
    let joined = std::env::join_paths(folders).map_err(|error| Stop::Broken(error.to_string()))?;
    Ok(text(Path::new(&joined))?.to_owned())
}

/// A name that stays within its folder, with an ending that MLX reads.
fn is_kernels_name(name: &str) -> bool {
    let ending = Path::new(name).extension().and_then(OsStr::to_str);
    is_inside(name) && ending.is_some_and(|ending| KERNEL_FILES.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_over_first_is_kept_and_nothing_outside_its_folder() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(parent.path()).unwrap();
        let initial = InitialKernels::default();
        assert_eq!(initial.folder(), None);
        let files = |names: &[&str]| -> Vec<_> {
            names.iter().map(|&name| (name.to_owned(), name.as_bytes().to_vec())).collect()
        };
        initial.keep(&scratch, &files(&["a.ptx", "a long name/end.txt", "../escaped.ptx"]));
        initial.keep(&scratch, &files(&["later.ptx"]));
        let folder = initial.folder().unwrap();
        assert_eq!(std::fs::read(folder.join("a long name/end.txt")).unwrap(), b"a long name/end.txt");
        assert!(folder.join("a.ptx").exists() && !folder.join("later.ptx").exists());
        assert!(!folder.with_file_name("escaped.ptx").exists());
    }

    #[test]
    fn a_process_with_a_program_is_shown_the_common_kernels_and_the_initial_programs() {
        let shown = joined([Path::new("/common"), Path::new("/initial")]).unwrap();
        assert_eq!(
            std::env::split_paths(&shown).collect::<Vec<_>>(),
            [Path::new("/common"), Path::new("/initial")]
        );
        assert!(matches!(joined([Path::new("/a:b"), Path::new("/c")]), Err(Stop::Broken(_))));
    }

    #[test]
    fn a_compiled_kernel_handed_over_stays_within_its_folder() {
        for name in ["a.ptx", "a.txt", "a long name's beginning/its end.ptx"] {
            assert!(is_kernels_name(name), "{name}");
        }
        for name in
            ["", "a.cu", "/a.ptx", "../a.ptx", "a/../../b.ptx", "a//b.ptx", "./a.ptx", "a.ptx/", "a\0.ptx"]
        {
            assert!(!is_kernels_name(name), "{name}");
        }
    }
}
