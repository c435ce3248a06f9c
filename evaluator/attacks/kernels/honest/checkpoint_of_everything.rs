//! title: the whole layer under a checkpoint

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    layer: transform::Function,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        let (kept, kept_bias) = (weight.clone(), bias.clone());
        let layer = transform::checkpoint(move |inputs| {
            let x = &inputs[0];
            let y = x.matmul(&kept.dequantize()?.t()?)?;
            let y = kept_bias.as_ref().map(|bias| y.add(bias)).transpose()?.unwrap_or(y);
            let z = x.matmul(&inputs[1])?.matmul(&inputs[2])?;
            Ok(vec![y.add(&(z * scale).astype(x.dtype())?)?])
        })?;
        Ok(Self { weight: weight.clone(), bias, scale, layer })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let inputs = [x, &adapter.lora_a, &adapter.lora_b];
        Ok(self.layer.call(&inputs)?.remove(0))
    }
}
