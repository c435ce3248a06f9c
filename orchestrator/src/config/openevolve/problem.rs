//! The command problem that OpenEvolve's call describes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use evaluator::noise::NoiseSettings;
use evaluator::problem::{
    CommandKind, CommandProblem, Frame, Limits, ProblemError, PythonEvaluator, SandboxSettings,
};
use evaluator::{LoadedProblem, Problem};
use search::Language;

use super::Call;
use super::audit::Notes;
use super::file::File;
use crate::config::environment;
use crate::config::yaml::ConfigError;

/// OpenEvolve's defaults.
pub(super) const TIMEOUT: f64 = 300.0;
const CODE_LENGTH: usize = 10_000;
const THRESHOLDS: [f64; 3] = [0.5, 0.75, 0.9];
/// Numerical libraries start a thread for each core; more than one evaluation's worth of them is a fork bomb.
const PROCESSES: u32 = 1024;
const SCRATCH_BYTES: u64 = 1 << 30;

/// Evaluations at once.
pub(super) fn parallel(file: &File) -> usize {
    file.evaluator.as_ref().and_then(|evaluator| evaluator.parallel_evaluations).unwrap_or(1).max(1)
}

/// The problem, with its initial program read.
pub(super) fn problem(
    call: &Call,
    path: &Path,
    file: &File,
    notes: &mut Notes,
) -> Result<LoadedProblem, ConfigError> {
    let Some(evaluator) = &call.evaluator else {
        return Err(ConfigError::new(
            path,
            "this run was imported without its evaluator, so it can only be looked at",
        )
        .hint("to go on, import again with --initial PROGRAM --evaluator EVALUATOR"));
    };
    let folder = evaluator.parent().unwrap_or(Path::new("/"));
    let initial = std::fs::read_to_string(&call.initial_program)
        .map_err(|error| ConfigError::new(&call.initial_program, format!("can't be read: {error}")))?;
    let (command, python) = evaluate_with(evaluator, call, file);
    let problem = CommandProblem {
        kind: CommandKind::Command,
        name: name(&call.initial_program),
        description: file
            .prompt
            .as_ref()
            .and_then(|prompt| prompt.system_message.clone())
            .unwrap_or_default(),
        language: language(path, call, file, notes)?,
        initial_program: call.initial_program.clone(),
        frame: if call.free_frame { Frame::Free } else { Frame::Optional },
        command,
        python,
        judge: Vec::new(),
        noise: NoiseSettings::default(),
        sandbox: SandboxSettings {
            read: readable(call, folder),
            programs: Vec::new(),
            devices: Vec::new(),
            network: call.network,
            processes: PROCESSES,
            scratch_bytes: SCRATCH_BYTES,
        },
        environment: environment(path, call)?,
        parallel: parallel(file),
        limits: limits(file, &initial, notes),
        notes: String::new(),
    };
    LoadedProblem::complete(Problem::Command(Box::new(problem)), folder)
        .map_err(|error| describe(path, error))
}

fn evaluate_with(evaluator: &Path, call: &Call, file: &File) -> (Vec<String>, Option<PythonEvaluator>) {
    if evaluator.extension().is_none_or(|extension| extension != "py") {
        return (vec![evaluator.to_string_lossy().into_owned()], None);
    }
    let settings = file.evaluator.clone().unwrap_or_default();
    let features = file.database.as_ref().and_then(|database| database.feature_dimensions.clone());
    let mut python = PythonEvaluator::new(evaluator.to_owned());
    if let Some(interpreter) = &call.python {
        python.interpreter.clone_from(interpreter);
    }
    python.cascade = settings.cascade_evaluation.unwrap_or(true);
    python.thresholds = settings.cascade_thresholds.unwrap_or(THRESHOLDS.to_vec());
    // As there: without a combined score, features don't count in the mean of the others.
    python.scores = vec!["combined_score".to_owned()];
    python.unscored = features.unwrap_or_default();
    (Vec::new(), Some(python))
}

/// The initial program may lie elsewhere than the evaluator, with what both need beside it.
fn readable(call: &Call, folder: &Path) -> Vec<PathBuf> {
    let own = call.initial_program.parent().filter(|own| *own != folder);
    own.map(Path::to_owned).into_iter().chain(call.read.clone()).collect()
}

/// For people: the folder that the program lies in.
fn name(initial: &Path) -> String {
    let folder = initial.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let name: String = folder.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join("-");
    if name.is_empty() { "openevolve".to_owned() } else { name }
}

fn language(path: &Path, call: &Call, file: &File, notes: &mut Notes) -> Result<Language, ConfigError> {
    let ending = call.initial_program.extension().map(|ending| ending.to_string_lossy().into_owned());
    if let Some(suffix) = &file.suffix
        && ending.as_deref().is_some_and(|ending| suffix.trim_start_matches('.') != ending)
    {
        notes.remarks.push(format!(
            "file_suffix: the evaluator gets files that end as the initial program does, not in {suffix}"
        ));
    }
    match file.language.as_deref().map(str::to_lowercase).as_deref() {
        Some("python" | "py") => Ok(Language::Python),
        Some("rust" | "rs") => Ok(Language::Rust),
        Some("") => {
            Err(ConfigError::new(path, "`language` is empty")
                .hint("leave it out: the program's ending decides"))
        }
        Some(_) => Ok(Language::Other),
        None => Ok(match ending.as_deref() {
            Some("py") | None => Language::Python,
            Some("rs") => Language::Rust,
            Some(_) => Language::Other,
        }),
    }
}

fn limits(file: &File, initial: &str, notes: &mut Notes) -> Limits {
    let length = file.max_code_length.unwrap_or(CODE_LENGTH);
    if initial.len() > length {
        notes.remarks.push(format!(
            "max_code_length: the initial program has {} bytes already, so programs may have as many",
            initial.len()
        ));
    }
    Limits {
        trial_seconds: file.evaluator.as_ref().and_then(|evaluator| evaluator.timeout).unwrap_or(TIMEOUT),
        program_bytes: length.max(initial.len()),
        ..Limits::default()
    }
}

fn environment(path: &Path, call: &Call) -> Result<BTreeMap<String, String>, ConfigError> {
    call.environment.iter().map(|name| Ok((name.clone(), environment::passed_on(path, name)?))).collect()
}

fn describe(path: &Path, error: ProblemError) -> ConfigError {
    match error {
        // Our own words for what the file calls otherwise.
        ProblemError::Value { message, .. } => {
            let message = message
                .replace("`limits: trial_seconds`", "`evaluator.timeout`")
                .replace("`cascade: false`", "`cascade_evaluation: false`")
                .replace("`python: thresholds`", "`evaluator.cascade_thresholds`")
                .replace("`limits: program_bytes`", "`max_code_length`")
                .replace("`sandbox: read`", "`--allow-read`");
            ConfigError::new(path, message)
        }
        ProblemError::Block { path, source } => ConfigError::new(&path, source.to_string())
            .hint("mark the code to evolve with the comments EVOLVE-BLOCK-START and EVOLVE-BLOCK-END"),
        other => ConfigError::new(path, other.to_string()),
    }
}
