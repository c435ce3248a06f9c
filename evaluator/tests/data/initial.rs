//! A kernel that unpacks the whole weight in every call.

use kernel_api::{Adapter, Array, Kernel, Layer, PlainLora, QuantizedWeight, Result, Weight};

// EVOLVE-BLOCK-START
struct Unpacking {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl Kernel for Unpacking {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = x.matmul(&self.weight.dequantize()?.t()?)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let update = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        let scale = Array::scalar(self.scale, update.dtype())?;
        y.add(&update.multiply(&scale)?.astype(x.dtype())?)
    }
}

fn quantized(weight: &QuantizedWeight, layer: &Layer) -> Result<Box<dyn Kernel>> {
    Ok(Box::new(Unpacking { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale }))
}
// EVOLVE-BLOCK-END

/// The entry point.
pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>> {
    match &layer.weight {
        Weight::Quantized(weight) => quantized(weight, layer),
        Weight::Plain(_) => Ok(Box::new(PlainLora::new(layer)?)),
    }
}
