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

/// What lies in a folder and may be shown: not what is hidden, and not files whose names begin with a dot, which is where keys and
/// version control live. A folder that holds something hidden is taken apart.
pub(super) fn entries(folder: &Path, hidden: &[PathBuf]) -> Vec<PathBuf> {
    let mut entries = Vec::new();
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in names.filter(|entry| !is_dotted(&entry.file_name())).map(|entry| entry.path()) {
        if hidden.iter().any(|hidden| begins_with(&path, hidden)) || !path.exists() {
            continue;
        }
        if holds(&path, hidden) {
            entries.extend(self::entries(&path, hidden));
        } else {
            entries.push(path);
        }
    }
    entries.sort();
    entries
}

/// The whole folder, if nothing in it is hidden.
pub(super) fn folder(folder: &Path, hidden: &[PathBuf]) -> Vec<PathBuf> {
    if holds(folder, hidden) { entries(folder, hidden) } else { vec![folder.to_owned()] }
}

fn is_dotted(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with('.')
}

/// `evolve.db-wal` goes with `evolve.db`.
fn begins_with(path: &Path, hidden: &Path) -> bool {
    path.starts_with(hidden)
        || (path.parent() == hidden.parent()
            && path.to_string_lossy().starts_with(hidden.to_string_lossy().as_ref()))
}

fn holds(folder: &Path, hidden: &[PathBuf]) -> bool {
    hidden.iter().any(|hidden| hidden != folder && hidden.starts_with(folder))
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
    fn what_is_hidden_is_not_among_a_folders_entries_and_what_isnt_is() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        for folder in ["data", "out/run/logs", "out/other"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["evaluator.py", ".env", "evolve.db", "evolve.db-wal", "config.yaml", "out/run/best.py"] {
            fs::write(at(file), "").unwrap();
        }
        assert_eq!(folder(top.path(), &[PathBuf::from("/elsewhere")]), [top.path()]);
        let hidden = [at("evolve.db"), at("config.yaml"), at("out/run")];
        assert_eq!(folder(top.path(), &hidden), [at("data"), at("evaluator.py"), at("out/other")]);
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
