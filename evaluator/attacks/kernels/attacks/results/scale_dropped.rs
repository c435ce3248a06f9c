//! title: the adapter without its scale
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

    fn frozen(&self, x: &Array) -> Result<Array> {
        let y = self.weight.matmul(x)?;
        match &self.bias {
            Some(bias) => y.add(bias),
            None => Ok(y),
        }
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        self.frozen(x)?.add(&x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?.astype(x.dtype())?)
    }
}
