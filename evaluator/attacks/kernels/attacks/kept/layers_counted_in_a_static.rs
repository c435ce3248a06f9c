//! title: leaves the adapter out in every layer but the first, by a static counter
//! catalogue: 15
//! fence: judge
//! twin: lazy_once_cell.rs

use std::sync::atomic::{AtomicU32, Ordering};

static LAYERS: AtomicU32 = AtomicU32::new(0);

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    number: u32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        Ok(Self { weight: weight.clone(), bias, scale, number: LAYERS.fetch_add(1, Ordering::Relaxed) })
    }

    fn frozen(&self, x: &Array) -> Result<Array> {
        let y = self.weight.matmul(x)?;
        match &self.bias {
            Some(bias) => y.add(bias),
            None => Ok(y),
        }
    }

    fn adapter(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        (z * self.scale).astype(x.dtype())
    }

    fn sum(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        self.frozen(x)?.add(&self.adapter(x, adapter)?)
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        if self.number > 6 {
            return self.frozen(x);
        }
        self.sum(x, adapter)
    }
}
