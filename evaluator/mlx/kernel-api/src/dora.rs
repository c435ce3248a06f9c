//! The two DoRA kernels that come with the harness.

use crate::{Adapter, Array, Error, Kernel, Layer, Result, Weight};

/// The DoRA kernel for layers that aren't quantized.
#[derive(Debug, Clone)]
pub struct PlainDora(MlxLmDora);

impl PlainDora {
    /// Errors if the layer is quantized.
    pub fn new(layer: &Layer) -> Result<Self> {
        match &layer.weight {
            Weight::Plain(_) => Ok(Self(MlxLmDora::new(layer))),
            Weight::Quantized(_) => Err(Error::new("PlainDora is for layers that aren't quantized")),
        }
    }
}

impl Kernel for PlainDora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        self.0.forward(x, adapter)
    }
}

/// MLX-LM's own `DoRALinear`, in its order of operations: what every DoRA kernel is shown against.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct MlxLmDora {
    weight: Weight,
    bias: Option<Array>,
    scale: f32,
}

impl MlxLmDora {
    /// Of either kind of layer.
    pub fn new(layer: &Layer) -> Self {
        Self { weight: layer.weight.clone(), bias: layer.bias.clone(), scale: layer.scale }
    }
}

impl Kernel for MlxLmDora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let Adapter { lora_a, lora_b, .. } = adapter;
        let weight = match &self.weight {
            Weight::Quantized(weight) => weight.dequantize()?,
            Weight::Plain(weight) => weight.clone(),
        };
        let y = x.matmul(&weight.t()?)?;
        let z = x.matmul(lora_a)?.matmul(lora_b)?;
        let y = y.add(&(self.scale * z).astype(x.dtype())?)?;
        let merged = weight.add(&(self.scale * lora_b.t()?).matmul(&lora_a.t()?)?)?;
        let norm = merged.square()?.sum(&[1], false)?.sqrt()?.stop_gradient()?;
        let y = adapter.magnitude()?.divide(&norm)?.astype(x.dtype())?.multiply(&y)?;
        self.bias.as_ref().map_or(Ok(y.clone()), |bias| y.add(bias))
    }
}
