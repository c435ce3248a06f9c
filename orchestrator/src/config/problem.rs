//! A problem folder: `problem.yaml`, the initial program, and the problem's own rewrite rules.

use std::path::Path;

use evaluator::problem::{CommandProblem, KernelProblem, ProblemError};
use evaluator::{LoadedProblem, Problem};
use serde::Deserialize;

use super::programs;
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

/// Reads the problem that `config` names: a folder with a `problem.yaml`, or a YAML file in a problem's folder that varies it.
pub(super) fn read(config: &Path, path: &Path) -> Result<LoadedProblem, ConfigError> {
    let is_variant = path.is_file() && path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    if !is_variant && !path.is_dir() {
        return Err(ConfigError::new(config, format!("`problem`: there is no folder {}", path.display())).hint(
            "a problem is a folder with a problem.yaml, such as problems/quantized-lora, or another YAML file in such a \
             folder, such as problems/quantized-dora/qwen2.5-0.5b.yaml",
        ));
    }
    let path =
        path.canonicalize().map_err(|error| ConfigError::new(path, format!("can't be opened: {error}")))?;
    let file = if is_variant { path.clone() } else { path.join("problem.yaml") };
    let folder = file.parent().unwrap_or(&path).to_owned();
    let (probe, text) = yaml::read::<Probe>(&file)?;
    let problem = match probe.kind {
        Kind::Kernel => Problem::Kernel(Box::new(yaml::parse::<KernelProblem>(&file, &text)?)),
        Kind::Command => {
            let mut problem = yaml::parse::<CommandProblem>(&file, &text)?;
            programs::add(&file, &mut problem)?;
            Problem::Command(Box::new(problem))
        }
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
