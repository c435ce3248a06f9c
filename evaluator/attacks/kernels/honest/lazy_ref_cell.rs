//! title: unpacks at the first call and keeps it in a RefCell

use std::cell::RefCell;

struct QuantizedLora {
    packed: QuantizedWeight,
    kept: RefCell<Option<Array>>,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        Ok(Self { packed: weight.clone(), kept: RefCell::default(), bias, scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut kept = self.kept.borrow_mut();
        let weight = match kept.take() {
            Some(weight) => weight,
            None => self.packed.dequantize()?.t()?,
        };
        let mut y = x.matmul(&weight)?;
        *kept = Some(weight);
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
