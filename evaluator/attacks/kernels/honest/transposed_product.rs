//! title: (weight · xᵀ)ᵀ

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
        let product = self.weight.dequantize()?.matmul(&x.swap_axes(-1, -2)?)?;
        let mut y = product.swap_axes(-1, -2)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let turned = adapter.lora_b.t()?.matmul(&adapter.lora_a.t()?.matmul(&x.swap_axes(-1, -2)?)?)?;
        y.add(&(turned.swap_axes(-1, -2)? * self.scale).astype(x.dtype())?)
    }
}
