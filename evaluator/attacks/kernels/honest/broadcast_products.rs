//! title: the adapter's inner products as sums of elementwise products

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
        let wide = x.astype(Dtype::Float32)?;
        // [..., 1, input] * [rank, input] -> [..., rank]
        let inner = wide.expand_dims(-2)?.multiply(&adapter.lora_a.t()?)?.sum(&[-1], false)?;
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.add(&(inner.matmul(&adapter.lora_b)? * self.scale).astype(x.dtype())?)
    }
}
