//! title: only the first group of inputs
//! catalogue: 24
//! fence: check
//! twin: packed_product.rs

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })
    }

    fn adapter(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        (z * self.scale).astype(x.dtype())
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let group_size = self.weight.group_size;
        let weight = self.weight.dequantize()?.slice(1, 0, group_size)?;
        let mut y = x.slice(-1, 0, group_size)?.matmul(&weight.t()?)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.add(&self.adapter(x, adapter)?)
    }
}
