//! title: unpacks the weight once, in `new`

struct QuantizedLora {
    weight: Array,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.dequantize()?.t()?, bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = x.matmul(&self.weight)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
