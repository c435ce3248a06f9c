//! title: a module that swallows the frame
//! catalogue: 41 30
//! fence: gate
//! twin: packed_product.rs

//! A frozen quantized linear layer with a LoRA adapter: y = x · weightᵀ + bias + scale · (x · lora_a) · lora_b.
//!
//! The search starts here and may rewrite everything between the two marks. The rest stays as it is.

use kernel_api::*;

// EVOLVE-BLOCK-START
/// Unpacks the whole weight in every call and multiplies with that.
struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let weight = self.weight.dequantize()?;
        let mut y = x.matmul(&weight.t()?)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        // The adapter computes in float32 and its contribution is rounded to x's type once.
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
mod swallowed {
    use super::*;
// EVOLVE-BLOCK-END

/// Makes the kernel of one layer. Layers that aren't quantized take the API's own.
pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>> {
    match &layer.weight {
        Weight::Quantized(weight) => Ok(Box::new(QuantizedLora::new(layer, weight)?)),
        Weight::Plain(_) => Ok(Box::new(PlainLora::new(layer)?)),
    }
}
}
