//! A frozen quantized linear layer with a DoRA adapter:
//! y = m / norm · (x · weightᵀ + scale · (x · lora_a) · lora_b) + bias, where norm is the length of each row of
//! weight + scale · (lora_a · lora_b)ᵀ and counts as constant for the gradients.
//!
//! The search starts here and may rewrite everything between the two marks. The rest stays as it is.

use kernel_api::*;

// EVOLVE-BLOCK-START
/// As MLX-LM does it: unpacks the whole weight in every call, for the product and for the norm.
struct QuantizedDora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedDora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedDora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let weight = self.weight.dequantize()?;
        let y = x.matmul(&weight.t()?)?;
        // The adapter computes in float32 and its contribution is rounded to x's type once.
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        let mut y = y.add(&(z * self.scale).astype(x.dtype())?)?;
        let delta = (&adapter.lora_b * self.scale).t()?.matmul(&adapter.lora_a.t()?)?;
        let adapted = weight.add(&delta)?;
        let norm = adapted.square()?.sum(&[1], false)?.sqrt()?.stop_gradient()?;
        let factor = adapter.magnitude()?.divide(&norm)?.astype(x.dtype())?;
        y = y.multiply(&factor)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        Ok(y)
    }
}
// EVOLVE-BLOCK-END

/// Makes the kernel of one layer. Layers that aren't quantized take the API's own.
pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>> {
    match &layer.weight {
        Weight::Quantized(weight) => Ok(Box::new(QuantizedDora::new(layer, weight)?)),
        Weight::Plain(_) => Ok(Box::new(PlainDora::new(layer)?)),
    }
}
