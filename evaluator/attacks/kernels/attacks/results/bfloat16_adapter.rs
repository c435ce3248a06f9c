//! title: the adapter computes in bfloat16
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
        let half = |array: &Array| array.astype(Dtype::Bfloat16);
        let z = half(x)?.matmul(&half(&adapter.lora_a)?)?.matmul(&half(&adapter.lora_b)?)?;
        self.frozen(x)?.add(&(z.astype(Dtype::Float32)? * self.scale).astype(x.dtype())?)
    }
}
