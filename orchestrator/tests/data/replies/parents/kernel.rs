use kernel_api::*;

// EVOLVE-BLOCK-START
/// Unpacks the whole weight in every call.
struct Lora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl Kernel for Lora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let weight = self.weight.dequantize()?;
        let mut y = x.matmul(&weight.t()?)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale))
    }
}
// EVOLVE-BLOCK-END

pub fn build(layer: &Layer, weight: &QuantizedWeight) -> Result<Box<dyn Kernel>> {
    Ok(Box::new(Lora { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale }))
}
