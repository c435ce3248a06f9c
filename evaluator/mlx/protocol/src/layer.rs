//! A layer, as numbers: its shapes, how its weight is stored, what is trained beside it.

use serde::{Deserialize, Serialize};

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
