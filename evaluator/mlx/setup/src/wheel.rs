//! Wheels: packages of the Python registry, fetched by pip and unpacked without installing anything.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{problem, process};

/// Whether the packages that a package requires are wanted too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requirements {
    Skip,
    Include,
}

/// Downloads `requirement` (such as `mlx-cpu==0.32.2`) and unpacks it into `folder`.
pub(crate) fn unpack(
    python: &Path,
    requirement: &str,
    requirements: Requirements,
    folder: &Path,
) -> Result<()> {
    let downloads = folder.join("wheels");
    let mut command = Command::new(python);
    // Only the verbose form says why an index couldn't be read; nobody sees it unless it fails.
    command.args("-m pip download -vv --disable-pip-version-check --only-binary :all:".split(' '));
    if requirements == Requirements::Skip {
        command.arg("--no-deps");
    }
    command.arg("--dest").arg(&downloads).arg(requirement);
    let (success, output, errors) = process::capture(&mut command)?;
    if !success {
        return Err(problem::from_pip(requirement, &format!("{output}\n{errors}"), python, folder).into());
    }
    for entry in fs::read_dir(&downloads)? {
        let wheel = entry?.path();
        zip::ZipArchive::new(File::open(&wheel)?)
            .and_then(|mut archive| archive.extract(folder))
            .with_context(|| format!("can't unpack {}", wheel.display()))?;
    }
    fs::remove_dir_all(&downloads)?;
    Ok(())
}

/// The file called `name` somewhere below `folder`.
pub(crate) fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == name {
                return Ok(entry.path());
            }
        }
    }
    anyhow::bail!("no {name} in {}", folder.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_at_any_depth() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("libclang.so"), "").unwrap();
        assert_eq!(find(folder.path(), "libclang.so").unwrap(), deep.join("libclang.so"));
        assert!(find(folder.path(), "libother.so").is_err());
    }
}
