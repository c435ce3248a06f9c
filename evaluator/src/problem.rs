//! What is to be optimised: `problem.yaml`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::{fmt, fs};

use search::Language;
use serde::{Deserialize, Serialize};
use trial_protocol::{CheckCase, Model, Training};

use crate::block::{self, BlockError};
use crate::bundle::{self, BundleError};
use crate::noise::NoiseSettings;

mod defaults;
mod python;
mod settings;
mod validate;

pub use python::PythonEvaluator;
pub use settings::{FixedSettings, ProtocolSettings, RaceSettings, Seed7Settings};

/// A problem of either kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// A kernel for MLX, measured by fine-tuning.
    Kernel(Box<KernelProblem>),
    /// Any program, judged by a command that prints metrics.
    Command(Box<CommandProblem>),
}

/// A kernel for MLX: `kind: kernel`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelProblem {
    /// Always `kernel`.
    pub kind: KernelKind,
    /// A short name without spaces.
    pub name: String,
    /// One paragraph for people and for the prompt.
    #[serde(default)]
    pub description: String,
    /// The language of the program; kernels are Rust.
    #[serde(default = "defaults::rust")]
    pub language: Language,
    /// Baseline and start of the search, relative to the problem's folder.
    pub initial_program: PathBuf,
    /// What to improve; the weights are used as they are.
    pub objectives: Vec<Objective>,
    /// What must not get worse.
    #[serde(default)]
    pub constraints: Constraints,
    /// The model to fine-tune.
    pub model: Model,
    /// How to fine-tune it.
    pub training: Training,
    /// Numeric comparison with the reference before any trial.
    #[serde(default)]
    pub checks: Checks,
    /// Limits on time and memory.
    #[serde(default)]
    pub limits: Limits,
    /// How many trials, and which test.
    #[serde(default)]
    pub protocol: ProtocolSettings,
    /// Hints for the prompt (Markdown).
    #[serde(default)]
    pub notes: String,
}

/// Any program, judged by a command: `kind: command`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandProblem {
    /// Always `command`.
    pub kind: CommandKind,
    /// A short name without spaces.
    pub name: String,
    /// One paragraph for people and for the prompt.
    #[serde(default)]
    pub description: String,
    /// The language of the program.
    pub language: Language,
    /// Start of the search, relative to the problem's folder: a file, or a folder with all the program's files. Of a folder the
    /// evaluator is given a folder.
    pub initial_program: PathBuf,
    /// What of a program must stay as it is.
    #[serde(default)]
    pub frame: Frame,
    /// The command and its arguments; the candidate's path is appended. An argument that names a file in the
    /// problem's folder (the first one only with a `/` in it) is made absolute. It runs in an empty folder of its own.
    /// Either this or `python`.
    #[serde(default)]
    pub command: Vec<String>,
    /// An evaluator in Python, by `OpenEvolve`'s contract.
    #[serde(default)]
    pub python: Option<PythonEvaluator>,
    /// A trusted program that makes the task and judges the answer, so that no number comes out of the candidate's process. It is
    /// run twice, without the candidate: with the further arguments `make SEED` it prints a challenge, which the command gets on its
    /// standard input; with `score CHALLENGE ANSWER SECONDS` (two files and the evaluator's own clock) it prints the metrics. Then what
    /// the command prints is only the answer.
    #[serde(default)]
    pub judge: Vec<String>,
    /// What the command may reach beyond computing.
    #[serde(default)]
    pub sandbox: SandboxSettings,
    /// Its environment besides `PATH`, `HOME`, `TMPDIR` and `LANG`. Nothing else is passed on.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Commands that may run at once. 1, the default, also means that nothing of ours runs beside it,
    /// which is right for commands that measure time.
    #[serde(default = "defaults::one")]
    pub parallel: usize,
    /// Limits on time and memory.
    #[serde(default)]
    pub limits: Limits,
    /// How often programs are evaluated, and what the best one has to show.
    #[serde(default)]
    pub noise: NoiseSettings,
    /// Hints for the prompt (Markdown).
    #[serde(default)]
    pub notes: String,
}

/// What of a program must stay as it is: the key `frame`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame {
    /// Everything outside the EVOLVE-BLOCK, which there must be.
    #[default]
    Fixed,
    /// The same; but a program without EVOLVE-BLOCK markers may change as a whole.
    Optional,
    /// Nothing is compared with the initial program. Proposals still leave alone what stands outside their parent's EVOLVE-BLOCK.
    Free,
}

/// What a problem's command may do in the sandbox. It always has the system's libraries and tools, its interpreter, a private
/// folder to write to, and the problem's folder (with a judge only the files that `command` names).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxSettings {
    /// Further files and folders that it may read and execute.
    pub read: Vec<PathBuf>,
    /// Programs that it starts, such as `rustc`: looked up in `PATH` by whoever reads the problem, who adds what they need to `read`.
    pub programs: Vec<String>,
    /// Device files that it may use, such as a GPU's.
    pub devices: Vec<PathBuf>,
    /// Whether it may use the network.
    pub network: bool,
    /// Processes and threads at once, at most.
    pub processes: u32,
    /// Size of its private folder in bytes, at most.
    pub scratch_bytes: u64,
}

/// The word `kernel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelKind {
    /// A kernel problem.
    Kernel,
}

/// The word `command`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandKind {
    /// A command problem.
    Command,
}

/// One thing to improve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// What is measured.
    pub metric: Metric,
    /// Exponent of this metric's ratio in the score.
    pub weight: f64,
    /// Smallest relative change that matters: 0.01 is 1 %. Smaller ones don't decide the verdict.
    #[serde(default = "defaults::minimal_effect")]
    pub minimal_effect: f64,
}

/// What a kernel trial measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Target tokens per second by the evaluator's own clock; more is better.
    TokensPerSecond,
    /// Peak of MLX's allocator in bytes; less is better.
    PeakMemoryBytes,
}

impl Metric {
    /// The metric's name in `problem.yaml`, effects and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokensPerSecond => "tokens_per_second",
            Self::PeakMemoryBytes => "peak_memory_bytes",
        }
    }

    /// Whether more is better.
    pub fn is_maximized(self) -> bool {
        matches!(self, Self::TokensPerSecond)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What must not get worse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Constraints {
    /// Largest |relative difference| of the mean validation loss: 0.01 is 1 %.
    pub loss: f64,
}

/// Numeric comparison with the reference. The layers of the model at hand are always compared too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// Largest error, as a multiple of the rounding error of a straightforward computation in the same types.
    pub error_budget: f32,
    /// Layers to compare on.
    pub cases: Vec<CheckCase>,
    /// Further layers, of shapes drawn afresh in each evaluation. How they are stored is how announced ones are.
    pub secret_cases: u32,
}

/// Limits on one evaluation. Seconds are wall time of one process from its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Compiling a candidate.
    pub compile_seconds: f64,
    /// All numeric comparisons together.
    pub check_seconds: f64,
    /// One trial with loading and warming up; for command problems the whole command.
    pub trial_seconds: f64,
    /// Resident memory of a process tree, in bytes.
    pub memory_bytes: u64,
    /// Length of a program's source, in bytes.
    pub program_bytes: usize,
}

/// A problem read from its file: paths absolute, initial program read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadedProblem {
    /// The problem, with absolute paths.
    pub problem: Problem,
    /// The folder it was read from.
    pub folder: PathBuf,
    /// The initial program's source.
    pub initial: String,
}

/// A problem can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemError {
    /// A file can't be read.
    #[error("{} can't be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `problem.yaml` is not what we understand.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Key, line and column, as far as they are known.
        message: String,
    },
    /// A value makes no sense.
    #[error("{}: {message}", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which key, and what would be right.
        message: String,
    },
    /// The initial program's EVOLVE-BLOCK markers are wrong.
    #[error("{}: {source}", path.display())]
    Block {
        /// The initial program.
        path: PathBuf,
        /// What is wrong, with its line.
        source: BlockError,
    },
}

impl Problem {
    /// Reads YAML. Unknown keys and wrong types are errors with line and column.
    pub fn from_yaml(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Probe {
            kind: Option<String>,
        }
        let describe = |error: serde_yaml::Error| error.to_string();
        let probe: Probe = serde_yaml::from_str(text).map_err(describe)?;
        match probe.kind.as_deref() {
            Some("kernel") => serde_yaml::from_str(text).map(Self::Kernel).map_err(describe),
            Some("command") => serde_yaml::from_str(text).map(Self::Command).map_err(describe),
            Some(other) => Err(format!("unknown kind `{other}`: write `kind: kernel` or `kind: command`")),
            None => Err("the key `kind` is missing: write `kind: kernel` or `kind: command`".to_owned()),
        }
    }

    /// A short name.
    pub fn name(&self) -> &str {
        match self {
            Self::Kernel(problem) => &problem.name,
            Self::Command(problem) => &problem.name,
        }
    }

    /// One paragraph for people and for the prompt; may be empty.
    pub fn description(&self) -> &str {
        match self {
            Self::Kernel(problem) => &problem.description,
            Self::Command(problem) => &problem.description,
        }
    }

    /// Hints for the prompt; may be empty.
    pub fn notes(&self) -> &str {
        match self {
            Self::Kernel(problem) => &problem.notes,
            Self::Command(problem) => &problem.notes,
        }
    }

    /// The program's language.
    pub fn language(&self) -> Language {
        match self {
            Self::Kernel(problem) => problem.language,
            Self::Command(problem) => problem.language,
        }
    }

    /// The initial program's path.
    pub fn initial_program(&self) -> &Path {
        match self {
            Self::Kernel(problem) => &problem.initial_program,
            Self::Command(problem) => &problem.initial_program,
        }
    }

    /// What of a program must stay as it is.
    pub fn frame(&self) -> Frame {
        match self {
            Self::Kernel(_) => Frame::Fixed,
            Self::Command(problem) => problem.frame,
        }
    }

    /// Limits on one evaluation.
    pub fn limits(&self) -> &Limits {
        match self {
            Self::Kernel(problem) => &problem.limits,
            Self::Command(problem) => &problem.limits,
        }
    }

    fn make_absolute(&mut self, folder: &Path) {
        match self {
            Self::Kernel(problem) => {
                problem.initial_program = folder.join(&problem.initial_program);
                problem.training.data = below(folder, &problem.training.data);
                if let Model::Folder(path) = &mut problem.model {
                    *path = below(folder, path);
                }
            }
            Self::Command(problem) => {
                problem.initial_program = folder.join(&problem.initial_program);
                name_files(&mut problem.command, folder);
                name_files(&mut problem.judge, folder);
                if let Some(python) = &mut problem.python {
                    python.make_absolute(folder);
                }
                for path in problem.sandbox.read.iter_mut().chain(&mut problem.sandbox.devices) {
                    *path = below(folder, path);
                }
            }
        }
    }
}

/// A path as the folder sees it, absolute. Without `..`, which a sandbox doesn't take; links stay, since a program is told their names.
fn below(folder: &Path, path: &Path) -> PathBuf {
    let joined = folder.join(path);
    if joined.components().any(|part| part == Component::ParentDir) {
        // Of a file that isn't there whoever reads it complains.
        return joined.canonicalize().unwrap_or(joined);
    }
    joined
}

/// Makes those arguments absolute that name files in the folder.
fn name_files(command: &mut [String], folder: &Path) {
    for (index, argument) in command.iter_mut().enumerate() {
        let file = folder.join(&*argument);
        // `python3` means the one in PATH, whatever lies in the folder.
        let may_be_file = index > 0 || argument.contains('/');
        if may_be_file && !argument.is_empty() && file.is_file() {
            *argument = file.to_string_lossy().into_owned();
        }
    }
}

impl LoadedProblem {
    /// Reads `problem.yaml`, or the file of that name in a folder, and its initial program.
    pub fn load(path: &Path) -> Result<Self, ProblemError> {
        let path = if path.is_dir() { path.join("problem.yaml") } else { path.to_owned() };
        let text = read(&path)?;
        let problem = Problem::from_yaml(&text)
            .map_err(|message| ProblemError::Syntax { path: path.clone(), message })?;
        let absolute =
            path.canonicalize().map_err(|source| ProblemError::Read { path: path.clone(), source })?;
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        Self::complete(problem, folder).map_err(|error| match error {
            ProblemError::Value { message, .. } => ProblemError::Value { path, message },
            other => other,
        })
    }

    /// Checks a problem made in code, makes its paths absolute and reads its initial program.
    pub fn complete(mut problem: Problem, folder: &Path) -> Result<Self, ProblemError> {
        problem.validate().map_err(|message| ProblemError::Value { path: folder.to_owned(), message })?;
        problem.make_absolute(folder);
        let initial = read_initial(&problem)?;
        let marked = match problem.frame() {
            Frame::Fixed => block::parse(&initial),
            Frame::Optional | Frame::Free => block::parts(&initial),
        };
        marked
            .map_err(|source| ProblemError::Block { path: problem.initial_program().to_owned(), source })?;
        Ok(Self { problem, folder: folder.to_owned(), initial })
    }
}

/// The initial program; for command problems perhaps a folder.
fn read_initial(problem: &Problem) -> Result<String, ProblemError> {
    let path = problem.initial_program();
    if matches!(problem, Problem::Kernel(_)) && path.is_dir() {
        let message = "`initial_program` is a folder, and a kernel is one file".to_owned();
        return Err(ProblemError::Value { path: path.to_owned(), message });
    }
    bundle::read(path).map_err(|error| match error {
        BundleError::Read { path, source } => ProblemError::Read { path, source },
        other => {
            ProblemError::Value { path: path.to_owned(), message: format!("`initial_program`: {other}") }
        }
    })
}

fn read(path: &Path) -> Result<String, ProblemError> {
    fs::read_to_string(path).map_err(|source| ProblemError::Read { path: path.to_owned(), source })
}
