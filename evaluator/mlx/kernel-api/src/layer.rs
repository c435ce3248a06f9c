//! What a kernel is given.

use crate::{Array, Dtype, Error, Result, ops};

/// A frozen linear layer, `y = x · weightᵀ + bias`, that gets an adapter. Its arrays never change while a kernel
/// lives.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The frozen weight, `[output, input]`.
    pub weight: Weight,
    /// `[output]`, of type `dtype`.
    pub bias: Option<Array>,
    /// Factor on the adapter's contribution.
    pub scale: f32,
    /// Inner width of the adapter.
    pub rank: i32,
    /// Length of the last axis of x.
    pub input: i32,
    /// Length of the last axis of the result.
    pub output: i32,
    /// Type of x, of the result, and of the weight or its scales.
    pub dtype: Dtype,
    /// What the problem trains.
    pub adapter: AdapterKind,
}

/// A kind of adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdapterKind {
    /// Low rank.
    Lora,
    /// Low rank, and a magnitude for each output.
    Dora,
}

/// A frozen weight.
#[derive(Debug, Clone)]
pub enum Weight {
    /// MLX's affine quantization.
    Quantized(QuantizedWeight),
    /// As it is: `[output, input]`.
    Plain(Array),
}

/// A quantized weight: groups of `group_size` neighbours in a row share a scale and a bias;
/// `weight = scale · packed value + bias`.
#[derive(Debug, Clone)]
pub struct QuantizedWeight {
    /// `[output, input · bits / 32]`, `Uint32`; the lowest bits hold the first value.
    pub packed: Array,
    /// `[output, input / group_size]`.
    pub scales: Array,
    /// `[output, input / group_size]`.
    pub biases: Array,
    /// Values in a group.
    pub group_size: i32,
    /// Bits of a value.
    pub bits: i32,
}

impl QuantizedWeight {
    /// The whole weight unpacked: `[output, input]`, of the scales' type.
    pub fn dequantize(&self) -> Result<Array> {
        ops::dequantize(&self.packed, &self.scales, &self.biases, self.group_size, self.bits)
    }

    /// `x · weightᵀ` without unpacking the weight as a whole: `[..., input] → [..., output]`.
    pub fn matmul(&self, x: &Array) -> Result<Array> {
        ops::quantized_matmul(x, &self.packed, &self.scales, &self.biases, true, self.group_size, self.bits)
    }
}

/// The trainable part of a layer.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// `[input, rank]`, `Float32` whatever the layer's type is.
    pub lora_a: Array,
    /// `[rank, output]`, `Float32`.
    pub lora_b: Array,
    /// DoRA's magnitudes: `[output]`, `Float32`.
    pub m: Option<Array>,
}

impl Adapter {
    /// `m`. Errors if the adapter is LoRA's.
    pub fn magnitude(&self) -> Result<&Array> {
        self.m.as_ref().ok_or_else(|| Error::new("a LoRA adapter has no magnitudes"))
    }
}
