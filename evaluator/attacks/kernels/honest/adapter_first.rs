//! title: the adapter's part first, the weight's added to it

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
        let z = (x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale).astype(x.dtype())?;
        let start = match &self.bias {
            Some(bias) => z.add(bias)?,
            None => z,
        };
        start.add(&self.weight.matmul(x)?)
    }
}
