//! title: computes in float32 whatever the layer's type

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let scales = weight.scales.astype(Dtype::Float32)?;
        let biases = weight.biases.astype(Dtype::Float32)?;
        let bias = layer.bias.as_ref().map(|bias| bias.astype(Dtype::Float32)).transpose()?;
        Ok(Self { weight: QuantizedWeight { scales, biases, ..weight.clone() }, bias, scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let wide = x.astype(Dtype::Float32)?;
        let mut y = self.weight.matmul(&wide)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = wide.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale))?.astype(x.dtype())
    }
}
