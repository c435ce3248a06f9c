//! title: without the frozen weight
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
        self.adapter(x, adapter)
    }
}
