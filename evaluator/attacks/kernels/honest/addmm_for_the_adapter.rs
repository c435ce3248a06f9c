//! title: the adapter's second product added in one step

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
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let inner = x.matmul(&adapter.lora_a)?;
        let wide = y.astype(inner.dtype())?;
        ops::addmm(&wide, &inner, &adapter.lora_b, self.scale, 1.0)?.astype(x.dtype())
    }
}
