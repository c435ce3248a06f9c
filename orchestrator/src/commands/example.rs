//! What OpenEvolve's call names: a program, its evaluator and a configuration, each by itself or all by the folder that they are in.

use std::path::{Path, PathBuf};

use crate::cli::RunArgs;
use crate::exit_code::Failure;

/// The files of one of OpenEvolve's examples.
#[derive(Debug, PartialEq)]
pub(super) struct Example {
    pub(super) initial: PathBuf,
    pub(super) evaluator: PathBuf,
    /// Without one OpenEvolve's defaults hold.
    pub(super) config: Option<PathBuf>,
}

impl Example {
    /// What a call of `evolve run` names; none if it isn't OpenEvolve's call.
    pub(super) fn of(arguments: &RunArgs) -> Result<Option<Self>, Failure> {
        let given = &arguments.openevolve;
        let Some(initial) = &given.initial_program else { return Ok(None) };
        let config = arguments.config.clone();
        match &given.evaluator {
            Some(evaluator) => {
                Ok(Some(Self { initial: initial.clone(), evaluator: evaluator.clone(), config }))
            }
            None if initial.is_dir() => Self::within(initial, config).map(Some),
            None => Err(Failure::usage(alone(initial))),
        }
    }

    /// The files of a folder by their usual names, but for a configuration that is named otherwise.
    pub(super) fn within(folder: &Path, given: Option<PathBuf>) -> Result<Self, Failure> {
        let unreadable =
            |error: std::io::Error| Failure::usage(format!("{}: can't be read: {error}", folder.display()));
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if entry.path().is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(Self {
            initial: one(folder, &names, "initial_program.")?,
            evaluator: one(folder, &names, "evaluator.")?,
            config: given.map_or_else(|| config(folder, &names), |given| Ok(Some(given)))?,
        })
    }
}

/// Why one file by itself is no call.
fn alone(file: &Path) -> String {
    let name = file.display();
    match file.extension().and_then(|ending| ending.to_str()) {
        _ if !file.exists() => format!("{name}: there is no such file or folder"),
        Some("yaml" | "yml") => {
            format!("{name}: a configuration is no program\n  hint: `evolve run --config {name}`")
        }
        _ => format!(
            "{name}: its evaluator isn't named\n  hint: `evolve run {name} EVALUATOR`, or a folder with `initial_program.*` and \
             `evaluator.py`"
        ),
    }
}

/// The one file whose name begins so.
fn one(folder: &Path, names: &[String], begins: &str) -> Result<PathBuf, Failure> {
    let found: Vec<&str> = names.iter().map(String::as_str).filter(|name| name.starts_with(begins)).collect();
    let what = match found[..] {
        [name] => return Ok(folder.join(name)),
        [] => format!("there is no `{begins}*` in it"),
        _ => format!("there is more than one `{begins}*` in it: {}", found.join(", ")),
    };
    Err(Failure::usage(format!(
        "{}: {what}\n  hint: name the files: `evolve run INITIAL_PROGRAM EVALUATOR --config CONFIG`",
        folder.display()
    )))
}

/// `config.yaml`. A folder that has only others would run with OpenEvolve's defaults, which nobody who wrote them wants.
fn config(folder: &Path, names: &[String]) -> Result<Option<PathBuf>, Failure> {
    let ending =
        |name: &str| Path::new(name).extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    let is_config = |name: &str| name.starts_with("config") && ending(name);
    let found: Vec<&str> = names.iter().map(String::as_str).filter(|name| is_config(name)).collect();
    match found.iter().find(|name| ["config.yaml", "config.yml"].contains(name)) {
        Some(name) => Ok(Some(folder.join(name))),
        None if found.is_empty() => Ok(None),
        None => Err(Failure::usage(format!(
            "{0}: there is no `config.yaml` in it, but {1}\n  hint: name one: `evolve run {0} --config {2}`",
            folder.display(),
            found.join(", "),
            folder.join(found[0]).display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    #[test]
    fn a_folders_files_are_found_by_their_usual_names() {
        let folder =
            folder(&["initial_program.rs", "evaluator.py", "config.yaml", "config_other.yaml", "data.csv"]);
        let example = Example::within(folder.path(), None).unwrap();
        let names = [example.initial, example.evaluator, example.config.unwrap()];
        let expected =
            ["initial_program.rs", "evaluator.py", "config.yaml"].map(|name| folder.path().join(name));
        assert_eq!(names, expected);
    }

    #[test]
    fn what_is_missing_or_there_twice_is_said() {
        for (names, words) in [
            (&["initial_program.py"][..], "no `evaluator.*`"),
            (&["evaluator.py", "initial.py"], "no `initial_program.*`"),
            (
                &["evaluator.py", "evaluator.sh", "initial_program.py"],
                "`evaluator.*` in it: evaluator.py, evaluator.sh",
            ),
        ] {
            let folder = folder(names);
            let error = Example::within(folder.path(), None).unwrap_err().message;
            assert!(error.contains(words) && error.contains("hint: name the files"), "{error}");
        }
    }

    #[test]
    fn without_any_configuration_the_defaults_hold_but_one_of_another_name_must_be_named() {
        let bare = folder(&["initial_program.py", "evaluator.py"]);
        assert_eq!(Example::within(bare.path(), None).unwrap().config, None);
        let phases = folder(&["initial_program.py", "evaluator.py", "config_1.yaml", "config_2.yaml"]);
        let error = Example::within(phases.path(), None).unwrap_err().message;
        assert!(error.contains("but config_1.yaml, config_2.yaml") && error.contains("--config"), "{error}");
        let named = phases.path().join("config_2.yaml");
        assert_eq!(Example::within(phases.path(), Some(named.clone())).unwrap().config, Some(named));
        let other = folder(&["initial_program.py", "evaluator.py", "config.yml"]);
        assert_eq!(
            Example::within(other.path(), None).unwrap().config,
            Some(other.path().join("config.yml"))
        );
    }

    #[test]
    fn a_file_alone_is_told_what_it_lacks() {
        let folder = folder(&["initial_program.py", "config.yaml"]);
        for (name, words) in [
            ("nothing", "there is no such file or folder"),
            ("config.yaml", "`evolve run --config "),
            ("initial_program.py", "its evaluator isn't named"),
        ] {
            let words_of = alone(&folder.path().join(name));
            assert!(words_of.contains(words), "{words_of}");
        }
    }
}
