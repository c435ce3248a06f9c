//! title: another right way for short inputs than for long ones

enum Weight2 {
    Packed(QuantizedWeight),
    Unpacked(Array),
}

struct QuantizedLora {
    weight: [Weight2; 2],
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let unpacked = weight.dequantize()?.t()?;
        let weight = [Weight2::Packed(weight.clone()), Weight2::Unpacked(unpacked)];
        Ok(Self { weight, bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let rows = x.size() / x.dim(-1)? as usize;
        let mut y = match &self.weight[usize::from(rows > 8)] {
            Weight2::Packed(weight) => weight.matmul(x)?,
            Weight2::Unpacked(weight) => x.matmul(weight)?,
        };
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
