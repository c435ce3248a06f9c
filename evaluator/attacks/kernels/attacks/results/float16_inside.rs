//! title: computes in float16 under a float32 layer
//! catalogue: 23 32
//! fence: check
//! twin: float32_inside.rs

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
        let weight = self.weight.dequantize()?.astype(Dtype::Float16)?;
        let mut y = x.astype(Dtype::Float16)?.matmul(&weight.t()?)?.astype(x.dtype())?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.add(&self.adapter(x, adapter)?)
    }
}
