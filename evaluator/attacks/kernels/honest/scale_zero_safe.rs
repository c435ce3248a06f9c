//! title: does without the adapter where its scale is zero or NaN

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
        let y = self.weight.matmul(x)?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };

        if self.scale == 0.0 || self.scale.is_nan() {
            // Its gradients are zeros, which this keeps.
            let nothing = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * 0.0;
            return y.add(&nothing.astype(x.dtype())?);
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z.astype(x.dtype())?)
    }
}
