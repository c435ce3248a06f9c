//! title: x and the adapter held together, so that their gradients are computed together

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let held = transform::gradients_together(&[x, &adapter.lora_a, &adapter.lora_b])?;
        let [x, a, b] = held.as_slice() else { return Err(Error::new("three arrays")) };
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.add(&(x.matmul(a)?.matmul(b)? * self.scale).astype(x.dtype())?)
    }
}
