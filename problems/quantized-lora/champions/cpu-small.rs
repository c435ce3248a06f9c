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
        let mut y = self.weight.matmul(&x)?;
        // The adapter computes in float32 and its contribution is rounded to x's type once.
        let z = {
            let rows = adapter.lora_a.swap_axes(-1, -2)?.dim(-2)?;
            let first = adapter.lora_a.swap_axes(-1, -2)?.slice(-2, 0, rows / 2)?.matmul(&x.swap_axes(-1, -2)?)?;
            let second = adapter.lora_a.swap_axes(-1, -2)?.slice(-2, rows / 2, rows)?.matmul(&x.swap_axes(-1, -2)?)?;
            ops::concatenate(&[&first, &second], -2)?
        }.swap_axes(-1, -2)?.matmul(&adapter.lora_b)?;
        match &self.bias {
            Some(bias) => y.add(&(z * self.scale).astype(x.dtype())?)?.add(bias),
            None => y.add(&(z * self.scale).astype(x.dtype())?),
        }
    }
}
// EVOLVE-BLOCK-END

/// Makes the kernel of one layer. Layers that aren't quantized take the API's own.
pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>> {
    match &layer.weight {
        Weight::Quantized(weight) => Ok(Box::new(QuantizedLora::new(layer, weight)?)),
        Weight::Plain(_) => Ok(Box::new(PlainLora::new(layer)?)),
    }
}
