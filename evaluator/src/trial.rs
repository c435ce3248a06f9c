//! One measured execution, as it is stored.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ambient::Ambient;
use crate::protocol::Plan;

/// Whose code a trial ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// The problem's initial program.
    Baseline,
    /// The program under evaluation.
    Candidate,
    /// The best confirmed program so far; the initial program until there is one.
    Reference,
    /// The layer of MLX-LM itself.
    MlxLm,
    /// MLX-LM's own LoRA layer on the same model, where the problem trains DoRA.
    PlainLora,
}

impl Arm {
    /// The word used in the database and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Candidate => "candidate",
            Self::Reference => "reference",
            Self::MlxLm => "mlx_lm",
            Self::PlainLora => "plain_lora",
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a trial's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It gave its numbers.
    Ok,
    /// The kernel returned an error or panicked, and the runner could tell.
    Failed,
    /// The process died.
    Crashed,
    /// It ran past its time limit.
    Timeout,
    /// It went past its memory limit.
    OutOfMemory,
    /// Somebody else killed it; such a trial is run once more.
    Killed,
    /// It gave numbers that don't count: the kernel was not the one that ran, or a number isn't finite.
    Invalid,
}

impl Exit {
    /// The word used in the database and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Crashed => "crashed",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out_of_memory",
            Self::Killed => "killed",
            Self::Invalid => "invalid",
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One trial, failed or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Position within the evaluation, from 0.
    pub index: u32,
    /// What for: a stage of the protocol, or `command`.
    pub stage: String,
    /// Its number in the run, if the run's protocol asked for it and was told how it ended.
    pub number: Option<u64>,
    /// Which pair of the evaluation it belongs to, from 0.
    pub pair: Option<u32>,
    /// In a pair: whether the reference ran first.
    pub reference_first: Option<bool>,
    /// Numbers of the reference trials that it was to be compared with.
    pub references: Vec<u64>,
    /// The machine just before.
    pub ambient: Ambient,
    /// Whose code ran.
    pub arm: Arm,
    /// Adapter initialisation and data order; 0 where a command decides for itself.
    pub seed: u64,
    /// Milliseconds since the Unix epoch.
    pub started_at: i64,
    /// Milliseconds since the Unix epoch.
    pub ended_at: i64,
    /// The evaluator's own clock from the start signal to the reply; for commands from start to end.
    /// Absent if it never started measuring.
    pub wall_seconds: Option<f64>,
    /// How it ended.
    pub exit: Exit,
    /// Target tokens per second of `wall_seconds`.
    pub tokens_per_second: Option<f64>,
    /// Peak of MLX's allocator in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Peak resident set of the process in bytes, as the operating system counts it.
    pub process_peak_bytes: Option<u64>,
    /// Loss of the last measured step.
    pub train_loss: Option<f64>,
    /// Loss on held-out batches after the last step.
    pub validation_loss: Option<f64>,
    /// The kernel's name as the runner reported it.
    pub kernel: Option<String>,
    /// Layers that the kernel was applied to.
    pub kernel_layers: Option<u32>,
    /// Further named numbers; all finite.
    pub metrics: BTreeMap<String, f64>,
    /// What went wrong.
    pub message: Option<String>,
}

impl TrialRecord {
    /// A trial that a protocol asks for and that has not run yet.
    pub(crate) fn planned(index: u32, plan: &Plan, started_at: i64) -> Self {
        Self {
            pair: plan.pair,
            reference_first: plan.reference_first,
            references: plan.references.clone(),
            ..Self::begin(index, plan.stage.as_str(), plan.arm, plan.seed, started_at)
        }
    }

    /// A trial that has not run yet: everything measured is absent.
    pub fn begin(index: u32, stage: &str, arm: Arm, seed: u64, started_at: i64) -> Self {
        Self::begin_in(Ambient::read(), index, stage, arm, seed, started_at)
    }

    /// The same where the surroundings are known already.
    pub(crate) fn begin_in(
        ambient: Ambient,
        index: u32,
        stage: &str,
        arm: Arm,
        seed: u64,
        started_at: i64,
    ) -> Self {
        Self {
            index,
            stage: stage.to_owned(),
            number: None,
            pair: None,
            reference_first: None,
            references: Vec::new(),
            ambient,
            arm,
            seed,
            started_at,
            ended_at: started_at,
            wall_seconds: None,
            exit: Exit::Crashed,
            tokens_per_second: None,
            peak_memory_bytes: None,
            process_peak_bytes: None,
            train_loss: None,
            validation_loss: None,
            kernel: None,
            kernel_layers: None,
            metrics: BTreeMap::new(),
            message: None,
        }
    }
}
