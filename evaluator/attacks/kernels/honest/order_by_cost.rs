//! title: (x·a)·b or x·(a·b), whichever multiplies less

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })
    }

    fn adapter(&self, x: &Array, Adapter { lora_a, lora_b, .. }: &Adapter) -> Result<Array> {
        let (input, rank, output) = (lora_a.dim(0)? as u64, lora_a.dim(1)? as u64, lora_b.dim(1)? as u64);
        let rows = x.size() as u64 / input;
        let left = rows * rank * (input + output);
        let right = input * rank * output + rows * input * output;
        if left <= right { x.matmul(lora_a)?.matmul(lora_b) } else { x.matmul(&lora_a.matmul(lora_b)?) }
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.add(&(self.adapter(x, adapter)? * self.scale).astype(x.dtype())?)
    }
}
