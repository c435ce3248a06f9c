//! The orchestrator's end: starts the evaluator process, sends jobs, survives its death.

mod process;
mod supervisor;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{broadcast, oneshot};

use self::process::Process;
use self::supervisor::{Command, Supervisor, Ticket};
use crate::history::History;
use crate::job::Job;
use crate::problem::LoadedProblem;
use crate::report::{EvaluationReport, MeasuredBy};
use crate::wire::Progress;

/// Events that a slow reader may lag behind before it loses some.
const EVENTS_KEPT: usize = 1024;

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
    /// Where hub models are cached (`HF_HOME`); only problems that name a hub id need it.
    pub model_cache: Option<PathBuf>,
    /// Folder for private temporary folders, e.g. `std::env::temp_dir()`.
    pub scratch: PathBuf,
    /// Files and folders that no command may see although they lie in the problem's folder, and those whose names begin so: the
    /// configuration, the database.
    pub hidden: Vec<PathBuf>,
    /// A file that all evolve processes of this machine lock in turn while they measure.
    pub device_lock: Option<PathBuf>,
    /// Builds and checks at once.
    pub builds: usize,
    /// Whether whatever a candidate can influence runs in the sandbox. Only a user's `--no-sandbox` turns it off.
    pub sandbox: bool,
    /// The run's past; empty for a new run.
    pub history: History,
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
    commands: UnboundedSender<Command>,
    measured_by: MeasuredBy,
    events: broadcast::Sender<Progress>,
}

impl EvaluatorOptions {
    /// Options with the usual values, taking both executables from one folder (that of `evolve` itself).
    pub fn new(folder: &Path, problem: LoadedProblem, path: String, scratch: PathBuf) -> Self {
        let builds = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            program: folder.join("evolve-evaluator"),
            launcher: folder.join("evolve-launcher"),
            problem,
            harness: None,
            path,
            model_cache: None,
            hidden: Vec::new(),
            device_lock: Some(scratch.join("evolve-device.lock")),
            scratch,
            builds,
            sandbox: true,
            history: History::default(),
            tries: 3,
        }
    }
}

impl Evaluator {
    /// Starts the process and waits until it says that it can work.
    pub async fn spawn(options: EvaluatorOptions) -> Result<Self, EvaluatorError> {
        let (process, measured_by) = Process::start(&options).await?;
        let (commands, received) = unbounded_channel();
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        tokio::spawn(Supervisor::new(options, process, received, events.clone()).run());
        Ok(Self { commands, measured_by, events })
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
    pub async fn evaluate(&self, job: Job) -> Result<EvaluationReport, EvaluatorError> {
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket { id: job.id, number: next_ticket() };
        let cancel = CancelOnDrop { commands: self.commands.clone(), ticket };
        let command = Command::Evaluate { job: Box::new(job), ticket, reply };
        self.commands.send(command).map_err(|_| EvaluatorError::Shutdown)?;
        let result = answer.await.unwrap_or(Err(EvaluatorError::Shutdown));
        drop(cancel);
        result
    }

    /// Ends the process and everything it started, and waits for that. Jobs in flight end with
    /// [`EvaluatorError::Shutdown`].
    pub async fn shutdown(self) {
        let (done, answer) = oneshot::channel();
        if self.commands.send(Command::Shutdown { done }).is_ok() {
            // An error here means that it had ended before.
            let _ = answer.await;
        }
    }
}

/// Tells the supervisor that nobody waits any more. After the answer that is no news to it.
struct CancelOnDrop {
    commands: UnboundedSender<Command>,
    ticket: Ticket,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        // The supervisor may have ended.
        let _ = self.commands.send(Command::Cancel { ticket: self.ticket });
    }
}

/// Tells two calls apart that used the same job id, one after the other.
fn next_ticket() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
