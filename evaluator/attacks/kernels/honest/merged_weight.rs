//! title: the adapter added to the weight in every call

struct QuantizedLora {
    weight: Array,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let weight = weight.dequantize()?.astype(Dtype::Float32)?.t()?;
        Ok(Self { weight, bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let delta = adapter.lora_a.matmul(&adapter.lora_b)? * self.scale;
        let mut y = x.astype(Dtype::Float32)?.matmul(&self.weight.add(&delta)?)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.astype(x.dtype())
    }
}
