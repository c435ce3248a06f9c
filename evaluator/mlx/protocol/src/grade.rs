//! What the grader is asked and answers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{AdapterKind, Challenge, CheckCase, Model, Training, nan};

/// What the grader is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum GradeRequest {
    /// First of all: load the model and the data. Answered by [`GradeReply::Prepared`] and a raw frame.
    Prepare(PrepareRequest),
    /// Judge the answer to a challenge, which follows as a raw frame. Answered by [`GradeReply::Checked`].
    Check(GradeCheck),
    /// Judge the adapters of a trial, which follow as a raw frame. Answered by [`GradeReply::Trial`].
    Trial(GradeTrial),
}

/// What the grader needs to know once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareRequest {
    pub model: Model,
    /// As the problem has it, held-out texts and all.
    pub training: Training,
    /// Allowed error as a multiple of the reference's own rounding error.
    pub error_budget: f32,
}

/// Which challenge an answer is to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradeCheck {
    pub challenge: Challenge,
}

/// Which trial adapters are of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradeTrial {
    /// [`Go::seed`](crate::Go::seed).
    pub seed: u64,
    /// Optimizer steps that it took.
    pub iterations: u32,
    /// The kind of adapter that it trained: the problem's own, or LoRA beside DoRA, which no candidate has to do with.
    pub fine_tune_type: AdapterKind,
}

/// What the grader answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum GradeReply {
    /// Ready; a raw frame with the training texts (JSON lines) follows.
    Prepared(Prepared),
    /// All comparisons of one challenge.
    Checked {
        /// At least one for each quantity of the layout.
        comparisons: Vec<Comparison>,
    },
    /// A trial's numbers.
    Trial(TrialGrade),
    /// It can't be done: model, data or settings are wrong.
    Failed {
        /// What, and what to do.
        message: String,
    },
}

/// What the supervisor needs to know about model and data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// Length of the raw frame that follows.
    pub train_bytes: u64,
    /// Linear layers of the model (head included) with quantized weights.
    pub quantized_layers: u32,
    /// Adapted layers in order.
    pub slots: Vec<Slot>,
    /// Length of a trial's raw frame.
    pub adapter_bytes: u64,
    /// The same where LoRA is trained instead.
    pub lora_bytes: u64,
    /// The model's own adapted layers as cases, each shape once, with x as large as in training.
    pub cases: Vec<CheckCase>,
    /// Files and folders that a runner has to read for this model; empty for a synthetic one.
    pub files: Vec<PathBuf>,
    /// The model as the runner shall load it: a hub id has become a folder.
    pub model: Model,
}

/// An adapted layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Full path, such as `model.layers.0.mlp.up_proj`.
    pub layer: String,
    pub input: i32,
    pub output: i32,
    pub quantized: bool,
}

/// One array against the reference's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// A [`Part::quantity`](crate::Part::quantity).
    pub quantity: String,
    /// max |candidate − reference| / max |reference|, the reference in float64; absent if a value is not finite.
    pub error: Option<f32>,
    /// Allowed: the error budget times the error of a straightforward computation in the case's own types.
    pub tolerance: f32,
    pub passed: bool,
    /// Why it failed when `error` is absent, or what else is wrong.
    pub note: Option<String>,
}

/// What adapters are worth, by the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialGrade {
    /// Target tokens in the measured steps.
    pub tokens: u64,
    /// Loss on held-out batches with these adapters and the reference's kernel. NaN and infinity travel as `null` and arrive as NaN.
    #[serde(deserialize_with = "nan::one")]
    pub validation_loss: f64,
    /// Loss of the last step of the reference's own training with that seed.
    #[serde(deserialize_with = "nan::one")]
    pub train_loss: f64,
    /// How far the adapters' changes are from the reference's: ‖Δ − Δreference‖ / ‖Δreference‖ over all arrays together, or a quarter of
    /// that of the single array where it is largest, whichever is more. NaN where a value isn't finite.
    #[serde(deserialize_with = "nan::one")]
    pub deviation: f64,
    /// What the deviation may be: from how far two straightforward executions are apart.
    pub tolerance: f64,
    /// The array with the largest deviation, such as `model.layers.0.mlp.up_proj lora_a`.
    pub worst: String,
    /// Seconds below which nothing can have done these steps on this device: from the bytes that have to be read and the
    /// multiplications that have to be made.
    pub floor_seconds: f64,
}
