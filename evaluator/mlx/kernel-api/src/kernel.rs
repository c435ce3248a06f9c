//! What a kernel is, and the two LoRA kernels that come with the harness.

use crate::{Adapter, Array, Error, Layer, QuantizedWeight, Result, Weight};

/// Computes a layer with its adapter. Made once for each layer, by `build`, where whatever depends on the layer alone can
/// be prepared.
pub trait Kernel {
    /// LoRA: `x · weightᵀ + bias + scale · (x · lora_a) · lora_b`. DoRA: `m / norm · (x · weightᵀ + scale · (x · lora_a) ·
    /// lora_b) + bias`, where `norm` is the length of each row of `weight + scale · (lora_a · lora_b)ᵀ` and constant for the
    /// gradients. x is `[batch, length, input]` or `[n, input]`, of the layer's type; the result is the same with `output`
    /// last, of x's type. MLX takes gradients with respect to x and the adapter's arrays. Called many times, with new arrays
    /// and other shapes.
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array>;

    /// Layers that are always called with the same x, this kernel's own the first (q, k, v; gate, up): one kernel for all of them
    /// together, which is then used instead of theirs. `None`, as by default, calls each layer's own. They may differ in output, bias
    /// and in how they are stored.
    fn group(&self, layers: &[Layer]) -> Result<Option<Box<dyn KernelGroup>>> {
        let _ = layers;
        Ok(None)
    }
}

/// Computes layers that share x, each with its adapter.
pub trait KernelGroup {
    /// Each layer's result as by [`Kernel::forward`], in the order of the layers, whose adapters these are.
    fn forward(&self, x: &Array, adapters: &[Adapter]) -> Result<Vec<Array>>;
}

/// The kernel for layers that aren't quantized.
#[derive(Debug, Clone)]
pub struct PlainLora {
    weight: Array,
    bias: Option<Array>,
    scale: f32,
}

impl PlainLora {
    /// Errors if the layer is quantized.
    pub fn new(layer: &Layer) -> Result<Self> {
        match &layer.weight {
            Weight::Plain(weight) => Ok(Self::of(weight, layer)),
            Weight::Quantized(_) => Err(Error::new("PlainLora is for layers that aren't quantized")),
        }
    }

    fn of(weight: &Array, layer: &Layer) -> Self {
        Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale }
    }
}

impl Kernel for PlainLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let weight = self.weight.t()?;
        let y = match &self.bias {
            Some(bias) => crate::ops::addmm(bias, x, &weight, 1.0, 1.0)?,
            None => x.matmul(&weight)?,
        };
        add_lora(&y, x, adapter, self.scale)
    }
}

/// MLX-LM's own `LoRALinear`, what every kernel is shown against.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub enum MlxLmLora {
    #[doc(hidden)]
    Plain(PlainLora),
    #[doc(hidden)]
    Quantized { weight: QuantizedWeight, bias: Option<Array>, scale: f32 },
}

impl MlxLmLora {
    /// Of either kind of layer.
    pub fn new(layer: &Layer) -> Self {
        match &layer.weight {
            Weight::Plain(weight) => Self::Plain(PlainLora::of(weight, layer)),
            Weight::Quantized(weight) => {
                Self::Quantized { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale }
            }
        }
    }
}

impl Kernel for MlxLmLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        match self {
            Self::Plain(plain) => plain.forward(x, adapter),
            Self::Quantized { weight, bias, scale } => {
                let mut y = weight.matmul(x)?;
                if let Some(bias) = bias {
                    y = y.add(bias)?;
                }
                add_lora(&y, x, adapter, *scale)
            }
        }
    }
}

/// `y + (scale · ((x · lora_a) · lora_b)).astype(x.dtype)`: the adapter computes in float32 and is rounded once.
fn add_lora(y: &Array, x: &Array, adapter: &Adapter, scale: f32) -> Result<Array> {
    let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
    y.add(&(scale * z).astype(x.dtype())?)
}
