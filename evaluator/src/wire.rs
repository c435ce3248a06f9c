//! What the orchestrator and the evaluator process say to each other: frames of JSON on standard input and
//! output, at most [`MAX_FRAME`] bytes each.

use std::path::PathBuf;

use search::Stage;
use serde::{Deserialize, Serialize};
use tokio_util::codec::LengthDelimitedCodec;

use crate::history::History;
use crate::job::Job;
use crate::problem::LoadedProblem;
use crate::report::{EvaluationReport, MeasuredBy};
use crate::trial::{Arm, Exit};

/// Longest frame in bytes.
pub const MAX_FRAME: usize = 64 * 1024 * 1024;

/// The framing of both directions.
pub fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_codec()
}

/// From the orchestrator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// First of all, once.
    Hello(Box<Hello>),
    /// Evaluate a candidate; many may be in flight.
    Evaluate(Job),
    /// Nobody waits for this job any more.
    Cancel {
        /// [`Job::id`].
        id: u64,
    },
}

/// What the evaluator process has to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The problem, with absolute paths.
    pub problem: LoadedProblem,
    /// `harness.json` as the MLX set-up wrote it; only kernel problems need it.
    pub harness: Option<PathBuf>,
    /// The launcher's executable.
    pub launcher: PathBuf,
    /// `PATH` for children: where `cc`, `g++` and commands are found.
    pub path: String,
    /// Where hub models are cached (`HF_HOME`); only problems that name a hub id need it.
    pub model_cache: Option<PathBuf>,
    /// Folder for private temporary folders.
    pub scratch: PathBuf,
    /// Files and folders that no command may see, and those whose names begin so.
    #[serde(default)]
    pub hidden: Vec<PathBuf>,
    /// A file that all evolve processes of this machine lock in turn while they measure.
    pub device_lock: Option<PathBuf>,
    /// Builds and checks at once.
    pub builds: usize,
    /// Whether commands run in the sandbox.
    pub sandbox: bool,
    /// The run's past; empty for a new run.
    pub history: History,
}

/// From the evaluator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Everything that all jobs need is in place.
    Welcome(MeasuredBy),
    /// A job went one step further.
    Progress(Progress),
    /// A job is done.
    Report {
        /// [`Job::id`].
        id: u64,
        /// What came out.
        report: Box<EvaluationReport>,
    },
    /// We broke, not the candidate.
    Broken {
        /// The job, or none if nothing can work.
        id: Option<u64>,
        /// What happened and what to do.
        error: String,
    },
}

/// One step of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// [`Job::id`].
    pub id: u64,
    /// What happened.
    pub event: Event,
}

/// What happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// It entered a stage.
    Entered {
        /// The stage.
        stage: Stage,
    },
    /// A trial starts.
    TrialStarted {
        /// Whose code.
        arm: Arm,
        /// Which trial, from 1.
        number: u32,
        /// Trials that the protocol foresees.
        of: u32,
    },
    /// A trial ended.
    TrialEnded {
        /// Whose code.
        arm: Arm,
        /// Which trial, from 1.
        number: u32,
        /// Trials that the protocol foresees.
        of: u32,
        /// How.
        exit: Exit,
        /// Absent for failed trials and commands.
        tokens_per_second: Option<f64>,
    },
    /// The evaluator process died; a new one was started and the job sent again.
    Resent {
        /// How often it has been sent now.
        tries: u32,
    },
}
