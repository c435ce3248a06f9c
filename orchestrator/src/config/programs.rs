//! The programs that a problem's command starts (`sandbox: programs`): where they are, and what they need.

use std::path::{Path, PathBuf};

use evaluator::problem::CommandProblem;

use super::environment;
use super::yaml::ConfigError;

/// Adds what each program needs to what the command may read, and to its environment.
pub(super) fn add(file: &Path, problem: &mut CommandProblem) -> Result<(), ConfigError> {
    let search_path = environment::path();
    for name in &problem.sandbox.programs {
        let program = find(name, &search_path).ok_or_else(|| {
            ConfigError::new(file, format!("`sandbox: programs`: {name} is not in PATH"))
                .hint("install it, or set PATH so that it is found")
        })?;
        let installed = program.canonicalize().unwrap_or_else(|_| program.clone());
        problem.sandbox.read.extend([program.clone(), installed].iter().flat_map(|path| places(path)));
        // rustup puts a stand-in in PATH that looks for the real program below its home.
        let is_stand_in = program.parent().is_some_and(|folder| folder.join("rustup").exists());
        if let Some(home) = environment::rustup_home().filter(|home| is_stand_in && home.is_dir()) {
            let variable = home.to_string_lossy().into_owned();
            problem.environment.entry("RUSTUP_HOME".to_owned()).or_insert(variable);
            problem.sandbox.read.push(home);
        }
    }
    Ok(())
}

fn find(name: &str, search_path: &str) -> Option<PathBuf> {
    std::env::split_paths(search_path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The folder that a program lies in, and the libraries beside it.
fn places(program: &Path) -> Vec<PathBuf> {
    let Some(folder) = program.parent() else { return Vec::new() };
    let libraries = folder.parent().map(|prefix| prefix.join("lib")).filter(|lib| lib.is_dir());
    std::iter::once(folder.to_owned()).chain(libraries).collect()
}
