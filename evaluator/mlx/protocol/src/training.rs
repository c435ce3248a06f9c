//! What is fine-tuned, and how.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{AdapterKind, Dtype, Quantization};

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
