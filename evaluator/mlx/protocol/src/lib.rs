//! What the evaluator (supervisor) and the trial runner say to each other.
//!
//! One process serves one request: the supervisor writes a [`Request`] frame. For a trial the runner loads
//! everything, answers [`Reply::Ready`], waits for a [`Go`] frame, does the measured work, says [`Reply::Trained`],
//! validates, and answers with [`Reply::Trial`]; the supervisor's own clock runs from `Go` to `Trained`. The other
//! requests have no clock and are answered at once. [`Reply::Failed`] may come at any point. When its standard input closes, the runner
//! exits at once.
//!
//! A frame is a little-endian `u32` length and that many bytes of JSON.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Longest frame either side accepts, in bytes.
pub const MAX_FRAME: u32 = 16 * 1024 * 1024;

/// The start signal: an empty object, sent once after [`Reply::Ready`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Go {}

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

/// Compare forward values and gradients (x, `lora_a`, `lora_b`) with the reference implementation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckRequest {
    /// The kernel under test.
    pub plugin: Plugin,
    /// Each case is a layer with its own shape and weights.
    pub cases: Vec<CheckCase>,
    /// Largest allowed error relative to the reference's largest magnitude, float32.
    pub tolerance: f32,
    /// Seed for weights and inputs.
    pub seed: u64,
}

/// One layer to compare on. Shapes: x is `[batch, length, input]`, the layer maps to `[batch, length, output]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckCase {
    pub batch: i32,
    pub length: i32,
    pub input: i32,
    pub output: i32,
    pub rank: i32,
    pub scale: f32,
    /// Absent: the layer's weight is not quantized.
    pub quantization: Option<Quantization>,
    /// Whether the layer has a bias.
    pub bias: bool,
    pub dtype: Dtype,
}

/// MLX's affine quantization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// Weights that share one scale and bias.
    pub group_size: i32,
    /// Bits per weight.
    pub bits: i32,
}

/// Element type of activations, scales and adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    Float32,
    Float16,
    Bfloat16,
}

/// Fine-tune adapters once, from a fresh model, and measure it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRequest {
    /// The kernel to train with. Absent: the harness's own layer, which is MLX-LM's.
    pub plugin: Option<Plugin>,
    pub model: Model,
    pub training: Training,
    /// Adapter initialisation and data order.
    pub seed: u64,
}

/// Where the model comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Made on the spot from a seed; nothing is downloaded.
    Synthetic(SyntheticModel),
    /// A folder in MLX-LM's format: `config.json`, `*.safetensors`, and for text data `tokenizer.json`.
    Folder(PathBuf),
    /// A hub id such as `mlx-community/Qwen2.5-0.5B-Instruct-4bit`, fetched once into the hub's cache.
    Hub(String),
}

/// A random Qwen2 with a byte-level tokenizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyntheticModel {
    pub seed: u64,
    pub hidden_size: i32,
    pub intermediate_size: i32,
    pub num_hidden_layers: i32,
    pub num_attention_heads: i32,
    pub num_key_value_heads: i32,
    pub quantization: Quantization,
    #[serde(default = "default_true")]
    pub tie_word_embeddings: bool,
    #[serde(default = "default_dtype")]
    pub dtype: Dtype,
}

fn default_true() -> bool {
    true
}

fn default_dtype() -> Dtype {
    Dtype::Float32
}

/// Optimizers, with `mlx.optimizers`' defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    Adam,
    Adamw,
}

/// Training settings, in MLX-LM's terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Adapters go on the last `num_layers` transformer blocks.
    pub num_layers: i32,
    pub rank: i32,
    pub scale: f32,
    pub learning_rate: f32,
    pub optimizer: Optimizer,
    pub batch_size: i32,
    /// Tokens per sequence, at most.
    pub sequence_length: i32,
    /// Optimizer steps that are measured.
    pub iterations: u32,
    /// Steps before the clock starts; their updates are undone.
    pub warmup_iterations: u32,
    /// Batches of held-out text for the validation loss.
    pub validation_batches: u32,
    /// JSON lines of `{"prompt": ..., "completion": ...}` or `{"text": ...}`.
    pub data: PathBuf,
}

/// What a runner answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Everything is loaded and warm; waiting for [`Go`].
    Ready,
    /// The measured steps are done: here the supervisor's clock stops. The trial's numbers follow.
    Trained,
    /// A trial's numbers.
    Trial(TrialReport),
    /// A check's numbers.
    Check(CheckReport),
    /// What this harness is.
    Description(Description),
    /// It went wrong in a way the runner could still tell.
    Failed(Failure),
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

/// One fine-tuning run, as seen from inside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialReport {
    /// [`Plugin::kernel`], or `mlx-lm` for the harness's own layer.
    pub kernel: String,
    /// Layers the plugin was built for. 0 for the harness's own layer.
    pub kernel_layers: u32,
    /// Forward calls that went through the plugin (traced calls of a compiled step count once).
    pub kernel_calls: u64,
    /// Quantized linear layers in the model.
    pub quantized_layers: u32,
    /// Target tokens in the measured steps.
    pub tokens: u64,
    /// Seconds for the measured steps on the runner's own clock. Informative: the supervisor's clock decides.
    pub seconds: f64,
    /// Loss of each measured step. NaN and infinity travel as `null` and arrive as NaN.
    #[serde(deserialize_with = "null_as_nan_each")]
    pub losses: Vec<f64>,
    /// Loss on held-out batches after the last step. NaN and infinity travel as `null` and arrive as NaN.
    #[serde(deserialize_with = "null_as_nan")]
    pub validation_loss: f64,
    /// Peak of MLX's allocator during the measured steps, bytes.
    pub peak_memory_bytes: u64,
    /// MLX's active memory just before the measured steps, bytes.
    pub active_memory_bytes: u64,
}

// JSON has no NaN, and serde_json writes `null` instead. A diverged loss is a finding, not an unreadable report.
fn null_as_nan<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
}

fn null_as_nan_each<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    let values = Vec::<Option<f64>>::deserialize(from)?;
    Ok(values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}

/// All comparisons of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    pub kernel: String,
    pub comparisons: Vec<Comparison>,
}

/// One array against the reference's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Index into [`CheckRequest::cases`].
    pub case: u32,
    /// `forward`, `grad x`, `grad lora_a` or `grad lora_b`.
    pub quantity: String,
    /// max |candidate − reference| / max |reference|; absent if shapes differ or a value is not finite.
    pub error: Option<f32>,
    /// Allowed for this case (wider for half precision).
    pub tolerance: f32,
    pub passed: bool,
    /// Why it failed when `error` is absent.
    pub note: Option<String>,
}

/// The harness and the device that it runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// This harness's own version.
    pub harness: String,
    pub mlx: String,
    /// `cpu`, `metal` or `cuda`.
    pub backend: String,
    /// The processor's or GPU's name.
    pub device: String,
}

/// What the set-up step leaves behind for the evaluator: where everything is. Written to
/// `evaluator/mlx/harness.json`; paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harness {
    /// The trial runner.
    pub runner: PathBuf,
    /// The kernel API's dynamic library, for `rustc --extern kernel_api=`.
    pub kernel_api: PathBuf,
    /// Folders for `rustc -L dependency=`.
    pub dependencies: Vec<PathBuf>,
    /// Folders for the dynamic linker (MLX, mlx-c, Rust's std).
    pub libraries: Vec<PathBuf>,
    /// The compiler that built them; candidates must use the same one.
    pub rustc: PathBuf,
    /// `rustc --version` of it.
    pub rustc_version: String,
    /// The kernel API's reference text (Markdown), generated from its docs.
    pub reference: PathBuf,
    pub description: Description,
}

/// Writes one frame and flushes.
pub fn write_frame<T: Serialize>(mut to: impl Write, message: &T) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= MAX_FRAME);
    let length = length.ok_or_else(|| io::Error::other("frame too long"))?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&body)?;
    to.flush()
}

/// Reads one frame; `None` at the end of the stream.
pub fn read_frame<T: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("frame of {length} bytes")));
    }
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}
