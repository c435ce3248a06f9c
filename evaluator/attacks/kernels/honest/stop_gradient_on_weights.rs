//! title: says that the frozen arrays have no gradient

struct QuantizedLora {
    weight: Array,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let weight = weight.dequantize()?.stop_gradient()?;
        let bias = layer.bias.as_ref().map(Array::stop_gradient).transpose()?;
        Ok(Self { weight, bias, scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = x.matmul(&self.weight.stop_gradient()?.t()?)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
