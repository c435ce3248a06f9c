//! title: one product of [x | x·a] with [weightᵀ ; scale·b]

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
        let wide = x.astype(Dtype::Float32)?;
        let inner = wide.matmul(&adapter.lora_a)?;
        let left = ops::concatenate(&[&wide, &inner], -1)?;
        let right = ops::concatenate(&[&self.weight, &(&adapter.lora_b * self.scale)], 0)?;
        let mut y = left.matmul(&right)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.astype(x.dtype())
    }
}
