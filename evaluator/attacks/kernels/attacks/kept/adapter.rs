//! title: the adapter merged once, at the first call
//! catalogue: 15 20
//! fence: check
//! twin: merged_weight.rs

use std::cell::RefCell;

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    kept: RefCell<Option<Array>>,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        Ok(Self { weight: weight.clone(), bias, scale, kept: RefCell::default() })
    }

    fn frozen(&self, x: &Array) -> Result<Array> {
        let y = self.weight.matmul(x)?;
        match &self.bias {
            Some(bias) => y.add(bias),
            None => Ok(y),
        }
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut kept = self.kept.borrow_mut();
        let delta = match kept.take() {
            Some(delta) => delta,
            None => (adapter.lora_a.matmul(&adapter.lora_b)? * self.scale).stop_gradient()?,
        };
        let z = x.matmul(&delta)?.astype(x.dtype())?;
        *kept = Some(delta);
        self.frozen(x)?.add(&z)
    }
}
