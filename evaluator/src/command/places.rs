//! What a command has to read in order to start: its interpreter, wherever the user keeps it.

use std::path::{Path, PathBuf};

use crate::sandbox;

/// What belongs to an installation below its prefix, and nothing else: a prefix may be somebody's home folder.
const PARTS: [&str; 11] = [
    "bin",
    "lib",
    "lib64",
    "libexec",
    "include",
    "share/python",
    "pyvenv.cfg",
    // pyenv: its shims are scripts that look for the interpreter here
    "shims",
    "versions",
    "version",
    "plugins",
];

/// Everything that the given commands need: the system, each program's installation, the files that the arguments name,
/// and `further` places. `search_path` is the `PATH` that programs are looked up in.
pub(super) fn needed(commands: &[&[String]], search_path: &str, further: &[PathBuf]) -> Vec<PathBuf> {
    let mut places = sandbox::system();
    places.extend_from_slice(further);
    for command in commands.iter().filter(|command| !command.is_empty()) {
        let program = find(&command[0], search_path);
        for path in program.iter().cloned().chain(program.as_ref().and_then(|path| path.canonicalize().ok()))
        {
            places.extend(installation(&path));
        }
        places.extend(
            command[1..].iter().map(PathBuf::from).filter(|path| path.is_absolute() && path.is_file()),
        );
    }
    without_nested(places)
}

/// What lies directly in a folder and may be shown: hidden files are where keys and version control live.
pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let shown = names.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    let mut entries: Vec<PathBuf> = shown.map(|entry| entry.path()).filter(|path| path.exists()).collect();
    entries.sort();
    entries
}

/// Leaves out what lies within another, and what isn't there.
fn without_nested(mut places: Vec<PathBuf>) -> Vec<PathBuf> {
    places.retain(|path| path.exists());
    places.sort();
    places.dedup();
    // What a link points to may lie elsewhere, so nothing is within a link.
    let folders: Vec<PathBuf> = places.iter().filter(|path| !path.is_symlink()).cloned().collect();
    places.retain(|path| !folders.iter().any(|folder| folder != path && path.starts_with(folder)));
    places
}

fn find(program: &str, search_path: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program));
    }
    std::env::split_paths(search_path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn installation(program: &Path) -> Vec<PathBuf> {
    let Some(folder) = program.parent() else { return vec![program.to_owned()] };
    let is_installed = ["bin", "shims"].iter().any(|name| folder.ends_with(name));
    match folder.parent() {
        Some(prefix) if is_installed && prefix != Path::new("/") => {
            PARTS.iter().map(|part| prefix.join(part)).collect()
        }
        _ => vec![program.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_interpreter_brings_its_installation_but_not_the_rest_of_a_home_folder() {
        let home = tempfile::tempdir().unwrap();
        for folder in ["bin", "lib/python3", ".ssh", "tools/env/bin", "tools/env/lib"] {
            fs::create_dir_all(home.path().join(folder)).unwrap();
        }
        fs::write(home.path().join("bin/python3"), "").unwrap();
        fs::write(home.path().join("judge.py"), "").unwrap();
        std::os::unix::fs::symlink("../../../bin/python3", home.path().join("tools/env/bin/python3"))
            .unwrap();
        let script = home.path().join("judge.py").to_string_lossy().into_owned();
        let search_path = home.path().join("tools/env/bin").to_string_lossy().into_owned();
        let places = needed(&[&["python3".to_owned(), script]], &search_path, &[]);
        for part in ["bin", "lib", "tools/env/bin", "tools/env/lib", "judge.py"] {
            assert!(places.contains(&home.path().join(part)), "{part}: {places:?}");
        }
        let reaches_keys = places.iter().any(|place| home.path().join(".ssh").starts_with(place));
        assert!(!reaches_keys, "{places:?}");
    }

    #[test]
    fn a_folder_within_another_is_not_named_twice() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        let places =
            vec![folder.path().join("inner"), folder.path().to_owned(), folder.path().join("absent")];
        assert_eq!(without_nested(places), [folder.path().to_owned()]);
    }
}
