//! title: the first 40 calls take their time, so that the warm-up looks bad and the rest good
//! catalogue: 10
//! fence: trial
//! twin: packed_product.rs
//! expect: the number of warm-up steps is fixed, and so is the time limit
//! waits: yes

use std::cell::Cell;

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    calls: Cell<u32>,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        Ok(Self { weight: weight.clone(), bias, scale, calls: Cell::new(0) })
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
        let calls = self.calls.get() + 1;
        self.calls.set(calls);

        if calls <= 40 {
            let mut sum = 0_u64;
            for number in 0..3_000_000_000_u64 {
                sum = std::hint::black_box(sum.wrapping_add(number));
            }
        }
        self.sum(x, adapter)
    }
}
