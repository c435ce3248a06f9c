//! title: rows of the weight in another order, undone by take

struct QuantizedLora {
    weight: Array,
    back: Array,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let last = Array::from_u32(&[layer.output as u32 - 1], &[1])?;
        let back = last.subtract(&ops::arange(0, layer.output)?.astype(Dtype::Uint32)?)?;
        let weight = weight.dequantize()?.take(&back, 0)?.t()?;
        Ok(Self { weight, back, bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = x.matmul(&self.weight)?.take(&self.back, -1)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
