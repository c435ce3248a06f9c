//! title: a contiguous transposed copy, computed in `new`

struct QuantizedLora {
    transposed: Array,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let transposed = weight.dequantize()?.t()?.contiguous()?;
        transposed.eval()?;
        Ok(Self { transposed, bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        let y = match &self.bias {
            Some(bias) => ops::addmm(bias, x, &self.transposed, 1.0, 1.0)?,
            None => x.matmul(&self.transposed)?,
        };
        y.add(&z.astype(x.dtype())?)
    }
}
