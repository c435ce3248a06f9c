//! Programs of several files, as one text: each file after a line `==== NAME ====`.
//!
//! Everything that handles programs handles texts, so a folder is a text too. The header lines are part of the frame around the
//! EVOLVE-BLOCKs: nothing that is proposed can add, drop or rename a file. Within a block a header is just a line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::block;
use crate::scratch::is_inside;

const SIGNS: &str = "====";

/// Files that a program may have.
const MOST_FILES: usize = 200;

/// A folder is no program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file or folder can't be read, or isn't UTF-8.
    #[error("{} can't be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("{} holds no files", .0.display())]
    Empty(PathBuf),
    /// There is too much in it.
    #[error("{} holds more than {MOST_FILES} files; name a folder with the program's own files only", .0.display())]
    TooMany(PathBuf),
    /// A file can't stand in a bundle.
    #[error("{}: {what}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with its name or its text.
        what: String,
    },
}

/// The name in a header line.
fn header(line: &str) -> Option<&str> {
    let name = line.trim_end().strip_prefix(SIGNS)?.strip_suffix(SIGNS)?;
    let name = name.strip_prefix(' ')?.strip_suffix(' ')?;
    is_name(name).then_some(name)
}

/// Whether a name stays within the program's folder, on every system.
fn is_name(name: &str) -> bool {
    name.len() <= 200 && !name.contains(['\\', ':', '\n']) && name.trim() == name && is_inside(name)
}

/// The files of a program, in their order; none if it is a single file.
pub fn split(program: &str) -> Option<Vec<(&str, &str)>> {
    header(program.lines().next()?)?;
    let mut files: Vec<(&str, usize, usize)> = Vec::new();
    let (mut at, mut inside) = (0, false);
    for line in program.split_inclusive('\n') {
        let end = at + line.len();
        match block::marker(line) {
            Some(block::Marker::Start) => inside = true,
            Some(block::Marker::End) => inside = false,
            None => {}
        }
        if let Some(name) = header(line).filter(|_| !inside) {
            files.push((name, end, end));
        } else if let Some(last) = files.last_mut() {
            last.2 = end;
        }
        at = end;
    }
    Some(files.into_iter().map(|(name, from, to)| (name, &program[from..to])).collect())
}

/// One text of these files. A file without a line feed at its end gets one.
///
/// # Errors
/// What is wrong with which file.
pub fn join<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<String, (String, String)> {
    let mut program = String::new();
    let mut names = Vec::new();
    for (name, text) in files {
        let wrong = |what: &str| Err((name.to_owned(), what.to_owned()));
        if !is_name(name) {
            return wrong("its name can't be used");
        }
        if names.contains(&name) {
            return wrong("it is there twice");
        }
        if text.lines().any(|line| header(line).is_some()) {
            return wrong("it has a line `==== NAME ====`, which separates the files of a program");
        }
        names.push(name);
        program.push_str(&format!("{SIGNS} {name} {SIGNS}\n{text}"));
        if !text.is_empty() && !text.ends_with('\n') {
            program.push('\n');
        }
    }
    Ok(program)
}

/// The program that a path names: a file's text, or a folder's files by name. Hidden ones, links and `__pycache__` are left out.
pub fn read(path: &Path) -> Result<String, BundleError> {
    if !path.is_dir() {
        return fs::read_to_string(path)
            .map_err(|source| BundleError::Read { path: path.to_owned(), source });
    }
    let mut files = Vec::new();
    collect(path, String::new(), &mut files)?;
    files.sort();
    if files.is_empty() {
        return Err(BundleError::Empty(path.to_owned()));
    }
    join(files.iter().map(|(name, text)| (name.as_str(), text.as_str())))
        .map_err(|(name, what)| BundleError::File { path: path.join(name), what })
}

fn collect(folder: &Path, prefix: String, files: &mut Vec<(String, String)>) -> Result<(), BundleError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| BundleError::Read { path, source }
    };
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let entry = entry.map_err(unreadable(folder))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(unreadable(folder))?);
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "__pycache__" {
            continue;
        }
        if kind.is_dir() {
            collect(&path, format!("{prefix}{name}/"), files)?;
        } else if kind.is_file() {
            if files.len() == MOST_FILES {
                return Err(BundleError::TooMany(folder.to_owned()));
            }
            files.push((format!("{prefix}{name}"), fs::read_to_string(&path).map_err(unreadable(&path))?));
        }
    }
    Ok(())
}

/// Writes a program: into a file of this name, or its files into a folder of this name.
pub fn write(program: &str, path: &Path) -> io::Result<()> {
    let Some(files) = split(program) else { return fs::write(path, program) };
    for (name, text) in files {
        let file = path.join(name);
        fs::create_dir_all(file.parent().unwrap_or(path))?;
        fs::write(file, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_text_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("lib/__pycache__")).unwrap();
        for (name, text) in [
            ("main.py", "import lib.steps\n# EVOLVE-BLOCK-START\nx = 1\n# EVOLVE-BLOCK-END\n"),
            ("lib/steps.py", "# EVOLVE-BLOCK-START\ny = 2\n==== no.py ====\n# EVOLVE-BLOCK-END"),
            ("lib/__pycache__/steps.pyc", "x"),
            (".hidden", "x"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("lib/steps.py") && error.contains("separates the files"), "{error}");
        fs::write(folder.path().join("lib/steps.py"), "# EVOLVE-BLOCK-START\ny = 2\n# EVOLVE-BLOCK-END")
            .unwrap();
        let program = read(folder.path()).unwrap();
        assert!(program.starts_with("==== lib/steps.py ====\n# EVOLVE-BLOCK-START\ny = 2\n"), "{program}");
        assert_eq!(block::parse(&program).unwrap().blocks.len(), 2);
        let files = split(&program).unwrap();
        assert_eq!(files.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["lib/steps.py", "main.py"]);
        let copy = folder.path().join("copy");
        write(&program, &copy).unwrap();
        assert_eq!(read(&copy).unwrap(), program);
        assert_eq!(read(&copy.join("main.py")).unwrap(), files[1].1);
    }

    #[test]
    fn a_header_within_a_block_or_with_another_place_for_a_file_is_just_a_line() {
        let program = "==== a ====\n# EVOLVE-BLOCK-START\n==== b ====\n# EVOLVE-BLOCK-END\n==== ../c ====\n==== /d ====\n==== e/./f ====\n";
        let files = split(program).unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0], ("a", &program["==== a ====\n".len()..]));
        assert_eq!(split("x = 1\n==== a ====\n"), None, "a bundle begins with a header");
        assert_eq!(split(""), None);
        for name in ["", ".", "..", "a/../b", "/a", "a\\b", "c:d", "a/", "a//b", "./a", " a"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn what_no_bundle_can_hold_is_said() {
        assert_eq!(join([("a", "x"), ("b", "")]).unwrap(), "==== a ====\nx\n==== b ====\n");
        assert!(join([("a", ""), ("a", "")]).unwrap_err().1.contains("twice"));
        assert!(join([("../a", "")]).unwrap_err().1.contains("name"));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(read(empty.path()), Err(BundleError::Empty(_))));
        assert!(matches!(read(&empty.path().join("none.py")), Err(BundleError::Read { .. })));
    }
}
