//! The orchestrator's end: starts the evaluator process, sends jobs, survives its death.

use std::path::PathBuf;

use tokio::sync::broadcast;

use crate::job::Job;
use crate::problem::LoadedProblem;
use crate::report::{EvaluationReport, MeasuredBy};
use crate::wire::Progress;

/// How to start an evaluator.
#[derive(Debug, Clone)]
pub struct EvaluatorOptions {
    /// The executable `evolve-evaluator`.
    pub program: PathBuf,
    /// The executable `evolve-launcher`.
    pub launcher: PathBuf,
    /// What to optimise.
    pub problem: LoadedProblem,
    /// `harness.json`; only kernel problems need it.
    pub harness: Option<PathBuf>,
    /// `PATH` for children: where `cc`, `g++` and commands are found. No other variable is passed on.
    pub path: String,
    /// Folder for private temporary folders, e.g. `std::env::temp_dir()`.
    pub scratch: PathBuf,
    /// A file that all evolve processes of this machine lock in turn while they measure.
    pub device_lock: Option<PathBuf>,
    /// Builds and checks at once.
    pub builds: usize,
    /// How often one job may be sent, the first time included, before a dying evaluator becomes an error.
    pub tries: u32,
}

/// The evaluator can't do its work. Never a candidate's fault.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluatorError {
    /// The process can't be started.
    #[error("{} can't be started: {message}. Build it with `cargo build --workspace --release`", program.display())]
    Start {
        /// The executable.
        program: PathBuf,
        /// The operating system's words.
        message: String,
    },
    /// The process says that it can't work at all (no harness, unusable problem).
    #[error("{0}")]
    Setup(String),
    /// This job can't be evaluated, for a reason that isn't the candidate's.
    #[error("{0}")]
    Job(String),
    /// The process died again and again.
    #[error("the evaluator died {tries} times over the same job; its last words:\n{last_words}")]
    GaveUp {
        /// How often the job was sent.
        tries: u32,
        /// The end of its standard error.
        last_words: String,
    },
    /// The evaluator was shut down.
    #[error("the evaluator was shut down")]
    Shutdown,
}

/// A running evaluator. Cheap to clone; the process ends when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Evaluator {
    measured_by: MeasuredBy,
    events: broadcast::Sender<Progress>,
}

impl EvaluatorOptions {
    /// Options with the usual values, taking both executables from one folder (that of `evolve` itself).
    pub fn new(folder: &std::path::Path, problem: LoadedProblem, path: String, scratch: PathBuf) -> Self {
        let builds = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            program: folder.join("evolve-evaluator"),
            launcher: folder.join("evolve-launcher"),
            problem,
            harness: None,
            path,
            device_lock: Some(scratch.join("evolve-device.lock")),
            scratch,
            builds,
            tries: 3,
        }
    }
}

impl Evaluator {
    /// Starts the process and waits until it says that it can work.
    pub async fn spawn(_options: EvaluatorOptions) -> Result<Self, EvaluatorError> {
        Err(EvaluatorError::Shutdown)
    }

    /// Who measures, and how.
    pub fn measured_by(&self) -> &MeasuredBy {
        &self.measured_by
    }

    /// Steps of all jobs from now on. A slow reader loses the oldest ones and holds nobody up.
    pub fn events(&self) -> broadcast::Receiver<Progress> {
        self.events.subscribe()
    }

    /// Evaluates one candidate. Many may run at once; dropping the future cancels the job.
    pub async fn evaluate(&self, _job: Job) -> Result<EvaluationReport, EvaluatorError> {
        Err(EvaluatorError::Shutdown)
    }

    /// Ends the process and everything it started, and waits for that.
    pub async fn shutdown(self) {}
}
