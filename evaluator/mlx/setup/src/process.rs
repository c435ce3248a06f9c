//! Running tools: their output is shown only when they fail.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::problem;

/// Runs a command to its end; standard output on success, a [`crate::problem::Problem`] with its last words otherwise.
pub(crate) fn run(what: &str, command: &mut Command, folder: &Path) -> Result<String> {
    let (success, output, errors) = capture(command)?;
    if success {
        Ok(output)
    } else {
        Err(problem::from_output(what, &format!("{output}\n{errors}"), folder).into())
    }
}

/// Runs a command to its end and returns success, standard output and standard error.
pub(crate) fn capture(command: &mut Command) -> Result<(bool, String, String)> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("can't start {}", command.get_program().display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
}

/// The file that a command's name stands for: on `path` (as in `PATH`), or itself if it has a slash.
pub(crate) fn find(name: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    let is_file = |file: &Path| file.is_file().then(|| file.to_path_buf());
    if Path::new(name).components().count() > 1 {
        return is_file(Path::new(name));
    }
    std::env::split_paths(path?).find_map(|folder| is_file(&folder.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_on_the_path_and_a_file_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let tool = folder.path().join("tool");
        std::fs::write(&tool, "").unwrap();
        let path = std::env::join_paths([Path::new("/nowhere"), folder.path()]).unwrap();
        assert_eq!(find("tool".as_ref(), Some(&path)), Some(tool.clone()));
        assert_eq!(find("other".as_ref(), Some(&path)), None);
        assert_eq!(find(tool.as_os_str(), None), Some(tool));
    }

    #[test]
    fn a_failing_tool_is_quoted() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo broken pipe wrench >&2; exit 3"]);
        let error = run("sh", &mut command, Path::new("/")).unwrap_err().to_string();
        assert!(error.starts_with("sh failed:\nout\nbroken pipe wrench"), "{error}");
    }
}
