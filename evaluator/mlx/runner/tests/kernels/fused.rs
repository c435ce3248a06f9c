//! A kernel with a part that MLX can fuse, which a matrix product alone is not.

use kernel_api::transform::{Function, compile};
use kernel_api::*;

struct Fused {
    weight: QuantizedWeight,
    bias: Option<Array>,
    sum: Function,
}

impl Kernel for Fused {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        Ok(self.sum.call(&[&y, &z])?.remove(0))
    }
}

pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>> {
    let Weight::Quantized(weight) = &layer.weight else { return Ok(Box::new(PlainLora::new(layer)?)) };
    let scale = layer.scale;
    let sum = compile(move |inputs| {
        let (y, z) = (&inputs[0], &inputs[1]);
        Ok(vec![y.add(&(z * scale).astype(y.dtype())?)?])
    });
    Ok(Box::new(Fused { weight: weight.clone(), bias: layer.bias.clone(), sum }))
}
