//! title: the groups' scales are rounded to bfloat16
//! catalogue: 23
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
        let scales = weight.scales.astype(Dtype::Bfloat16)?.astype(weight.scales.dtype())?;
        let changed =
            ops::dequantize(&weight.packed, &scales, &weight.biases, weight.group_size, weight.bits)?.t()?;
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
