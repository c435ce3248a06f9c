//! A problem folder: `problem.yaml`, the initial program, and the problem's own rewrite rules.

use std::path::Path;

use evaluator::problem::{CommandProblem, KernelProblem, ProblemError};
use evaluator::{LoadedProblem, Problem};
use serde::Deserialize;

use super::yaml::{self, ConfigError};

/// Only what tells the two kinds apart; every other key is read afterwards.
#[derive(Deserialize)]
struct Probe {
    kind: Kind,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Kernel,
    Command,
}

/// Reads a problem folder that `config` names.
pub(super) fn read(config: &Path, folder: &Path) -> Result<LoadedProblem, ConfigError> {
    if !folder.is_dir() {
        return Err(ConfigError::new(config, format!("`problem`: there is no folder {}", folder.display()))
            .hint("a problem is a folder with a problem.yaml, such as problems/quantized-lora"));
    }
    let folder = folder
        .canonicalize()
        .map_err(|error| ConfigError::new(folder, format!("can't be opened: {error}")))?;
    let file = folder.join("problem.yaml");
    let (probe, text) = yaml::read::<Probe>(&file)?;
    let problem = match probe.kind {
        Kind::Kernel => Problem::Kernel(Box::new(yaml::parse::<KernelProblem>(&file, &text)?)),
        Kind::Command => Problem::Command(Box::new(yaml::parse::<CommandProblem>(&file, &text)?)),
    };
    LoadedProblem::complete(problem, &folder).map_err(|error| describe(&file, error))
}

fn describe(file: &Path, error: ProblemError) -> ConfigError {
    match error {
        ProblemError::Value { message, .. } => ConfigError::new(file, message),
        ProblemError::Read { path, source } => ConfigError::new(&path, format!("can't be read: {source}"))
            .hint(format!("`initial_program` in {} names it", file.display())),
        ProblemError::Block { path, source } => ConfigError::new(&path, source.to_string())
            .hint("mark the code to evolve with the comments EVOLVE-BLOCK-START and EVOLVE-BLOCK-END"),
        other => ConfigError::new(file, other.to_string()),
    }
}
