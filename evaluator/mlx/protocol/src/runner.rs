//! What the trial runner is asked and answers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{CheckCase, Description, Model, Training, nan};

/// The start signal of a trial, sent once after [`Reply::Ready`]. Until it comes the process can't know what it will compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Go {
    /// Adapter initialisation and data order of the measured steps.
    pub seed: u64,
}

/// What a runner is asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Compare a kernel's numbers with the reference.
    Check(CheckRequest),
    /// Fine-tune once and measure it.
    Trial(TrialRequest),
    /// Only say what this harness is.
    Describe,
    /// Let MLX's own layers compute this once, for what its backend compiles at the first call; then [`Reply::Ready`]. No plugin.
    Warm(WarmRequest),
}

/// A kernel compiled as a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    /// The dynamic library.
    pub path: PathBuf,
    /// The name the report echoes, so that nobody takes one kernel's numbers for another's
    /// (the program's code hash, or `baseline`).
    pub kernel: String,
}

/// Load a kernel and let it compute what the following [`Challenge`](crate::Challenge)s ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// The kernel under test.
    pub plugin: Plugin,
    /// Whether to lock the process before loading it (`trial-lock`); false only with `--no-sandbox`.
    pub lock: bool,
}

/// What kernels are to be compiled for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmRequest {
    /// Layers.
    pub cases: Vec<CheckCase>,
    /// A training.
    pub training: Option<(Model, Training)>,
}

/// Fine-tune adapters once, from a fresh model, and measure it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRequest {
    /// The kernel to train with. Absent: the harness's own layer, which is MLX-LM's.
    pub plugin: Option<Plugin>,
    pub model: Model,
    /// `data` is a folder with a `train.jsonl` and nothing else: the held-out texts are never in this process.
    pub training: Training,
    /// Seed of the warm-up, whose token ids are random, so that nothing computed in it is of use later.
    pub warm_up_seed: u64,
    /// Whether to lock the process before loading a plugin; false only with `--no-sandbox`.
    pub lock: bool,
    /// Whether to hand over what MLX compiled in this process ([`Reply::Compiled`]).
    pub hand_over: bool,
}

/// What a runner answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Everything is loaded (and warm): waiting for a [`Challenge`](crate::Challenge) or [`Go`].
    Ready,
    /// A raw frame with the answer to a [`Challenge`](crate::Challenge) follows.
    Answer {
        /// Its length.
        bytes: u64,
    },
    /// A raw frame with all adapters follows, then [`Self::Compiled`] if that was asked for, and then [`Self::Trial`].
    Trained {
        /// Its length.
        bytes: u64,
    },
    /// A raw frame with these files, one after the other, follows.
    Compiled {
        /// Kernels that MLX's CUDA backend compiled in this process.
        files: Vec<CompiledFile>,
    },
    /// What the runner says about its trial.
    Trial(TrialReport),
    /// What this harness is.
    Description(Description),
    /// It went wrong in a way the runner could still tell.
    Failed(Failure),
}

/// A file of a kernel that MLX compiled while it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompiledFile {
    /// Its name in the folder of compiled kernels; folders in it are parted by `/`.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// Who is to blame, and the words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub blame: Blame,
    pub message: String,
}

/// Whether the candidate or the set-up is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The kernel returned an error or panicked.
    Kernel,
    /// Model, data or settings: the same for every candidate, so the evaluation can't go on.
    Setup,
}

/// One fine-tuning run, as seen from inside. Nothing of it is believed without being compared with what is seen from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialReport {
    /// [`Plugin::kernel`], or `mlx-lm` for the harness's own layer.
    pub kernel: String,
    /// Layers the plugin was built for. 0 for the harness's own layer.
    pub kernel_layers: u32,
    /// Forward calls that went through the plugin, those of the warm-up among them: a compiled step ([`Training::compile`]) calls it only
    /// when it is traced.
    pub kernel_calls: u64,
    /// Quantized linear layers in the model.
    pub quantized_layers: u32,
    /// Seconds for the measured steps on the runner's own clock. Informative: the supervisor's clock decides.
    pub seconds: f64,
    /// Loss of each measured step. NaN and infinity travel as `null` and arrive as NaN.
    #[serde(deserialize_with = "nan::each")]
    pub losses: Vec<f64>,
    /// Peak of MLX's allocator during the measured steps, bytes.
    pub peak_memory_bytes: u64,
    /// MLX's active memory just before the measured steps, bytes.
    pub active_memory_bytes: u64,
}
