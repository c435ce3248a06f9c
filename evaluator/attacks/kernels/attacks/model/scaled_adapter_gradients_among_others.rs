//! title: lora_a learns with a gradient 3 % too large as soon as another kernel is alive
//! catalogue: 10 32
//! fence: check
//! twin: packed_product.rs

use std::sync::atomic::{AtomicUsize, Ordering};

static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// Kernels that were made and not dropped: a model has several.
struct Counted;

impl Counted {
    fn new() -> Self {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        Self
    }

    fn is_one_of_many(&self) -> bool {
        ALIVE.load(Ordering::Relaxed) > 1
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    counted: Counted,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        Ok(Self { weight: weight.clone(), bias, scale, counted: Counted::new() })
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
        if self.counted.is_one_of_many() {
            let a = adapter.lora_a.multiply(&Array::scalar(1.03, Dtype::Float32)?)?;
            let a = a.subtract(
                &adapter.lora_a.multiply(&Array::scalar(0.03, Dtype::Float32)?)?.stop_gradient()?,
            )?;
            return self.sum(x, &Adapter { lora_a: a, ..adapter.clone() });
        }
        self.sum(x, adapter)
    }
}
