//! title: the last output is the one before it
//! catalogue: 24
//! fence: check
//! twin: packed_product.rs

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    changed: Array,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        let whole = weight.dequantize()?;
        let kept = whole.slice(0, 0, layer.output - 1)?;
        let changed =
            ops::concatenate(&[&kept, &kept.slice(0, layer.output - 2, layer.output - 1)?], 0)?.t()?;
        Ok(Self { weight: weight.clone(), bias, scale, changed })
    }

    fn adapter(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        (z * self.scale).astype(x.dtype())
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = x.matmul(&self.changed)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.add(&self.adapter(x, adapter)?)
    }
}
