//! title: neighbouring groups share their mean scale
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
        let (rows, groups) = (weight.scales.dim(0)?, weight.scales.dim(1)?);
        let pairs = if groups % 2 == 0 { 2 } else { 1 };
        let mean = weight.scales.reshape(&[rows, groups / pairs, pairs])?.mean(&[2], true)?;
        let scales = mean.broadcast_to(&[rows, groups / pairs, pairs])?.reshape(&[rows, groups])?;
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
