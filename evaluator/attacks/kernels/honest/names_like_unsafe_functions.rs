//! title: variables named zeroed, unchecked, transmuted, ptr and raw

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
        let zeroed = ops::zeros(&[1], x.dtype())?;
        let uninitialized = x.clone();
        let raw = uninitialized.add(&zeroed)?;
        let unchecked_rows = raw.dim(0)?;
        let transmuted = self.weight.matmul(&raw)?;
        let ptr = match &self.bias {
            Some(bias) => transmuted.add(bias)?,
            None => transmuted,
        };
        debug_assert!(unchecked_rows > 0);
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        ptr.add(&(z * self.scale).astype(x.dtype())?)
    }
}
