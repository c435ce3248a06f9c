//! title: x beside its projection, the weight above lora_b

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
        let wide = x.astype(dtype)?;
        let projected = wide.matmul(&adapter.lora_a)? * self.scale;
        let long = ops::concatenate(&[&wide, &projected], -1)?;
        let high = ops::concatenate(&[&self.weight.dequantize()?.astype(dtype)?.t()?, &adapter.lora_b], 0)?;
        let y = long.matmul(&high)?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        y.astype(x.dtype())
    }
}
