//! title: weight and adapter side by side in one matrix, one product

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        Ok(Self { weight: weight.clone(), bias, scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let dtype = Dtype::Float32;
        let (a, b) = (adapter.lora_a.astype(dtype)?, adapter.lora_b.astype(dtype)?);
        let whole = self.weight.dequantize()?.astype(dtype)?.t()?;
        let rank = a.dim(1)?;
        let both = x.astype(dtype)?.matmul(&ops::concatenate(&[&whole, &a], 1)?)?;
        let columns = both.dim(-1)?;
        let y = both.slice(-1, 0, columns - rank)?;
        let z = both.slice(-1, columns - rank, columns)?.matmul(&(b * self.scale))?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        y.add(&z)?.astype(x.dtype())
    }
}
