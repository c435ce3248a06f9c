//! title: a whole kernel with lints of its own at the top

#![allow(dead_code)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
//! A whole program.

use kernel_api::*;

/// The kernel.
struct Mine {
    weight: QuantizedWeight,
    layer: Layer,
}

impl Kernel for Mine {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.layer.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.layer.scale).astype(x.dtype())?)
    }
}

/// Makes one.
pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>> {
    match &layer.weight {
        Weight::Quantized(weight) => Ok(Box::new(Mine { weight: weight.clone(), layer: layer.clone() })),
        Weight::Plain(_) => Ok(Box::new(PlainLora::new(layer)?)),
    }
}
