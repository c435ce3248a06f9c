//! What the evaluator (supervisor), the trial runner and the grader say to each other.
//!
//! The trial runner is not trusted: it loads a candidate. One process serves one [`Request`], and nothing that it says about itself
//! decides anything; what counts is bytes and the supervisor's clock.
//!
//! - *Check*: the runner locks itself, loads the kernel, answers [`Reply::Ready`]. Then, as often as the supervisor likes, comes a
//!   [`Challenge`], answered by [`Reply::Answer`] and a raw frame with the arrays of [`AnswerLayout`]. The end of standard input
//!   is the end.
//! - *Trial*: the runner locks itself, loads, warms up, answers [`Reply::Ready`] and waits for [`Go`], which brings the seed; it trains,
//!   and answers [`Reply::Trained`] and a raw frame with all adapters as float32, in the order of the grader's slots, each in the
//!   order of [`AdapterKind::arrays`]. The supervisor's clock runs from writing `Go` to the last byte of those. Then [`Reply::Trial`] follows.
//!
//! [`Reply::Failed`] may come instead of any answer. When its standard input closes, the runner exits at once.
//!
//! The grader is trusted: it never loads a candidate. One process serves many [`GradeRequest`]s; those that are about an answer are
//! followed by that answer as a raw frame.
//!
//! A frame is a little-endian `u32` length and that many bytes: of JSON, or raw where the message before it said so.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Counts the changes of these messages. An evaluator refuses a harness of another one: what it doesn't understand would look like a
/// candidate's crash. 2: layers that share x. 4: compiled steps.
pub const PROTOCOL: u32 = 5;

/// Longest frame of JSON either side accepts, in bytes.
pub const MAX_FRAME: u32 = 16 * 1024 * 1024;

/// Longest raw frame, in bytes. The receiver always knows beforehand how long it has to be.
pub const MAX_RAW: u32 = 1 << 30;

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

/// Load a kernel and let it compute what the following [`Challenge`]s ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// The kernel under test.
    pub plugin: Plugin,
    /// Whether to lock the process before loading it ([`trial-lock`]); false only with `--no-sandbox`.
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

/// The variable that names the folder of kernels compiled before ([`Harness::compiled`]) to a process of the harness, or several as `PATH`
/// names them.
pub const COMPILED_KERNELS: &str = "EVOLVE_COMPILED_KERNELS";

/// MLX's own variable: the folder in which it looks for compiled kernels, and leaves those that it compiles.
pub const KERNEL_CACHE: &str = "MLX_PTX_CACHE_DIR";

/// Endings of what MLX reads of a compiled kernel: the names of its functions, and its machine code, which MLX looks for first. It also
/// leaves the source, for people.
pub const KERNEL_FILES: [&str; 2] = ["txt", "ptx"];

/// One layer to compute, or several that share x, on inputs that nobody could know before: all values come from the seed.
///
/// The runner builds the kernel for the layer (or the layers' kernels, and of them the group if there is one), among as many companions as the challenge says, then, with poisoned (NaN) memory recycled before each call:
/// 1. forward on a first set of inputs (x and the adapter's arrays);
/// 2. the inputs' values are changed in place, in the same buffers, to a second set; forward, and the gradients of
///    sum(cotangent * result), over all results, with respect to x and the adapters' arrays;
/// 3. forward on the second set again.
///
/// [`AnswerLayout`] says what goes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// The layer.
    pub case: CheckCase,
    /// Seed of its weights and inputs.
    pub seed: u64,
    /// Calls with gradients between 1 and 2, on the first set, that nobody compares: whoever counts calls doesn't know
    /// which one matters.
    pub idle_calls: u32,
    /// Further kernels of the same layer, made before and after this one and called in turn with it, as a model's are. What they
    /// compute isn't compared: whoever counts kernels can't tell a check from a training.
    pub companions: u32,
    /// How large the numbers are.
    pub values: Values,
}

impl Challenge {
    /// A layer by itself, with ordinary values.
    pub fn plain(case: CheckCase, seed: u64) -> Self {
        Self { case, seed, idle_calls: 0, companions: 0, values: Values::default() }
    }
}

/// How large a challenge's numbers are, as multiples of ordinary ones: x and what flows back around 1, and a `lora_b` that makes the
/// adapter's part of the result as large as the weight's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values {
    /// x of the first set.
    pub first: f32,
    /// x of the second set.
    pub second: f32,
    /// `lora_b` of the second set. Training begins with a small one.
    pub lora_b: f32,
    /// What flows back. In a training it is small.
    pub cotangent: f32,
    /// Whether x of the first set has a row of zeros, as padding is, and single numbers far beyond the others, as language models have.
    pub uneven: bool,
}

impl Default for Values {
    fn default() -> Self {
        Self { first: 1.0, second: 1.0, lora_b: 1.0, cotangent: 1.0, uneven: false }
    }
}

/// The arrays in the answer to a [`Challenge`], end to end, row-major and little-endian: results of call 1; results of call 2; gradients
/// of x and each of the adapters' arrays; results of call 3; then x and those arrays as they are after the calls. Where layers share x,
/// what is of each of them comes in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerLayout {
    /// One for each array.
    pub parts: Vec<Part>,
}

/// One array of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// In words, such as `grad lora_a`, or `grad lora_a of layer 2` where layers share x.
    pub quantity: String,
    /// What it is.
    pub of: Of,
    /// Length of each dimension.
    pub shape: Vec<i32>,
    /// Type of its elements.
    pub dtype: Dtype,
}

/// What an array of an answer is of. Results are counted by layer; inputs are x, then each layer's adapter in the order of
/// [`AdapterKind::arrays`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Result of call 1.
    First(usize),
    /// Result of call 2.
    Forward(usize),
    /// Gradient of an input in call 2.
    Gradient(usize),
    /// Result of call 3.
    Repeated(usize),
    /// An input after the calls.
    Afterwards(usize),
}

impl AnswerLayout {
    /// The layout of a case's answer.
    pub fn of(case: &CheckCase) -> Self {
        let layers = case.layers();
        let name = |word: &str, layer: usize| match layers.len() {
            1 => word.to_owned(),
            _ => format!("{word} of layer {}", layer + 1),
        };
        let results = |word: &'static str, of: fn(usize) -> Of| {
            layers.iter().enumerate().map(move |(index, layer)| Part {
                quantity: name(word, index),
                of: of(index),
                shape: vec![case.batch, case.length, layer.output],
                dtype: case.dtype,
            })
        };
        let inputs = |words: fn(&str) -> String, of: fn(usize) -> Of| {
            let mut parts = vec![Part {
                quantity: words("x"),
                of: of(0),
                shape: vec![case.batch, case.length, case.input],
                dtype: case.dtype,
            }];
            for (index, layer) in layers.iter().enumerate() {
                let shapes = case.adapter.shapes(case.input, layer.output, case.rank);
                for (word, shape) in case.adapter.arrays().iter().zip(shapes) {
                    let quantity = name(&words(word), index);
                    parts.push(Part { quantity, of: of(parts.len()), shape, dtype: Dtype::Float32 });
                }
            }
            parts
        };
        let mut parts: Vec<Part> =
            results("first forward", Of::First).chain(results("forward", Of::Forward)).collect();
        parts.extend(inputs(|word| format!("grad {word}"), Of::Gradient));
        parts.extend(results("repeated forward", Of::Repeated));
        parts.extend(inputs(|word| format!("{word} afterwards"), Of::Afterwards));
        Self { parts }
    }

    /// Bytes of the whole answer.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }
}

impl Part {
    /// Its length in bytes.
    pub fn bytes(&self) -> usize {
        self.shape.iter().map(|&length| length as usize).product::<usize>() * self.dtype.bytes()
    }
}

/// One layer to compare on, or several that take the same x, as q, k and v do. Shapes: x is `[batch, length, input]`, the layer maps to
/// `[batch, length, output]`.
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
    /// What kind of adapter the layer has. The evaluator puts in what the problem trains.
    #[serde(default, skip_serializing_if = "AdapterKind::is_lora")]
    pub adapter: AdapterKind,
    /// Further layers that take the same x, in what they don't have in common. A kernel may compute all of them together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<Sibling>,
}

/// A layer that takes another's x.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sibling {
    pub output: i32,
    /// Absent: the layer's weight is not quantized.
    pub quantization: Option<Quantization>,
    pub bias: bool,
}

impl CheckCase {
    /// Its layers, each by itself.
    pub fn layers(&self) -> Vec<Self> {
        let first = Self { siblings: Vec::new(), ..self.clone() };
        let others = self.siblings.iter().map(|&Sibling { output, quantization, bias }| Self {
            output,
            quantization,
            bias,
            ..first.clone()
        });
        std::iter::once(first.clone()).chain(others).collect()
    }
}

/// What is trained beside a frozen layer: MLX-LM's `fine_tune_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterKind {
    /// `x · weightᵀ + bias + scale · (x · lora_a) · lora_b`.
    #[default]
    Lora,
    /// `m / ‖weight + scale · (lora_a · lora_b)ᵀ‖ · (x · weightᵀ + scale · (x · lora_a) · lora_b) + bias`, the norm of each output's
    /// row, and without gradients.
    Dora,
}

impl AdapterKind {
    /// The arrays that are trained for a layer, in order.
    pub fn arrays(self) -> &'static [&'static str] {
        match self {
            Self::Lora => &["lora_a", "lora_b"],
            Self::Dora => &["lora_a", "lora_b", "m"],
        }
    }

    /// Their shapes: `[input, rank]`, `[rank, output]`, and of `m` `[output]`.
    pub fn shapes(self, input: i32, output: i32, rank: i32) -> Vec<Vec<i32>> {
        let mut shapes = vec![vec![input, rank], vec![rank, output]];
        if self == Self::Dora {
            shapes.push(vec![output]);
        }
        shapes
    }

    /// Whether it is [`Self::Lora`].
    pub fn is_lora(&self) -> bool {
        *self == Self::Lora
    }
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

impl Dtype {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float16 | Self::Bfloat16 => 2,
        }
    }
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

/// Where the model comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Made on the spot from a seed; nothing is downloaded.
    Synthetic(SyntheticModel),
    /// The same with the shapes of a real model, so that it takes the time and memory of that one.
    Shapes(RealShapes),
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

/// A random model that is as large as a real one, layer by layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealShapes {
    /// Whose.
    pub of: RealModel,
    /// Of activations, scales and biases. The published 4-bit models have half precision, which is slow on most processors.
    #[serde(default = "default_dtype")]
    pub dtype: Dtype,
    #[serde(default = "default_seed")]
    pub seed: u64,
    #[serde(default = "four_bits")]
    pub quantization: Quantization,
}

/// Models whose shapes are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RealModel {
    /// 24 blocks of width 896.
    #[serde(rename = "qwen2.5-0.5b")]
    Qwen2_5Small,
    /// 28 blocks of width 1536.
    #[serde(rename = "qwen2.5-1.5b")]
    Qwen2_5Large,
}

impl RealShapes {
    /// Sizes as in the model's published `config.json`, and its number of tokens.
    pub fn spec(&self) -> (SyntheticModel, i32) {
        let (hidden_size, intermediate_size, num_hidden_layers, num_attention_heads) = match self.of {
            RealModel::Qwen2_5Small => (896, 4864, 24, 14),
            RealModel::Qwen2_5Large => (1536, 8960, 28, 12),
        };
        let spec = SyntheticModel {
            seed: self.seed,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads: 2,
            quantization: self.quantization,
            tie_word_embeddings: true,
            dtype: self.dtype,
        };
        (spec, 151_936)
    }
}

fn default_seed() -> u64 {
    1
}

fn four_bits() -> Quantization {
    Quantization { group_size: 64, bits: 4 }
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
    /// The kind of adapter.
    #[serde(default, skip_serializing_if = "AdapterKind::is_lora")]
    pub fine_tune_type: AdapterKind,
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
    /// Whether a step goes through `mx.compile`, as MLX-LM's does: then MLX fuses operations, and a kernel's `forward` is called when the
    /// step is traced and not again. On a CPU the sandbox allows no compiler, and MLX takes the step operation by operation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compile: bool,
    /// JSON lines of `{"prompt": ..., "completion": ...}` or `{"text": ...}`.
    pub data: PathBuf,
}

/// What a runner answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Everything is loaded (and warm): waiting for a [`Challenge`] or [`Go`].
    Ready,
    /// A raw frame with the answer to a [`Challenge`] follows.
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
    #[serde(deserialize_with = "null_as_nan_each")]
    pub losses: Vec<f64>,
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
    /// [`Go::seed`].
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
    /// A [`Part::quantity`].
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
    #[serde(deserialize_with = "null_as_nan")]
    pub validation_loss: f64,
    /// Loss of the last step of the reference's own training with that seed.
    #[serde(deserialize_with = "null_as_nan")]
    pub train_loss: f64,
    /// How far the adapters' changes are from the reference's: ‖Δ − Δreference‖ / ‖Δreference‖ over all arrays together, or a quarter of
    /// that of the single array where it is largest, whichever is more. NaN where a value isn't finite.
    #[serde(deserialize_with = "null_as_nan")]
    pub deviation: f64,
    /// What the deviation may be: from how far two straightforward executions are apart.
    pub tolerance: f64,
    /// The array with the largest deviation, such as `model.layers.0.mlp.up_proj lora_a`.
    pub worst: String,
    /// Seconds below which nothing can have done these steps on this device: from the bytes that have to be read and the
    /// multiplications that have to be made.
    pub floor_seconds: f64,
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
    /// The [`PROTOCOL`] that runner and grader speak; before it was counted, 0.
    #[serde(default)]
    pub protocol: u32,
    /// The trial runner.
    pub runner: PathBuf,
    /// The grader.
    pub grader: PathBuf,
    /// The kernel API's dynamic library, for `rustc --extern kernel_api=`.
    pub kernel_api: PathBuf,
    /// Folders for `rustc -L dependency=`.
    pub dependencies: Vec<PathBuf>,
    /// Folders for the dynamic linker (MLX, mlx-c, Rust's std).
    pub libraries: Vec<PathBuf>,
    /// Folders of headers that MLX's CUDA backend compiles kernels with while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<PathBuf>,
    /// Where kernels that MLX's CUDA backend compiled are kept from one process to the next. No process with a candidate in it
    /// can write there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiled: Option<PathBuf>,
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

/// Writes one raw frame and flushes.
pub fn write_raw(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= MAX_RAW);
    let length = length.ok_or_else(|| io::Error::other("raw frame too long"))?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(bytes)?;
    to.flush()
}

/// Reads one raw frame of exactly `bytes` bytes.
pub fn read_raw(mut from: impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if u64::from(length) != bytes || length > MAX_RAW {
        let words = format!("a raw frame of {length} bytes instead of {bytes}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, words));
    }
    let mut body = vec![0; length as usize];
    from.read_exact(&mut body)?;
    Ok(body)
}
