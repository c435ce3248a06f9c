//! title: the scale merged into lora_a

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    /// Cached as an array, so that it isn't made anew in each call.
    scale: Array,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let scale = Array::scalar(layer.scale, Dtype::Float32)?;
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let a = adapter.lora_a.multiply(&self.scale)?;
        let z = x.matmul(&a)?.matmul(&adapter.lora_b)?;
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.add(&z.astype(x.dtype())?)
    }
}
