//! title: unpacks the weight a few output rows at a time

/// Rows unpacked at once.
const ROWS: i32 = 40;

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    output: i32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale, output) = (layer.bias.clone(), layer.scale, layer.output);
        Ok(Self { weight: weight.clone(), bias, scale, output })
    }

    fn rows(&self, start: i32, end: i32) -> Result<Array> {
        let QuantizedWeight { packed, scales, biases, group_size, bits } = &self.weight;
        let cut = |array: &Array| array.slice(0, start, end);
        ops::dequantize(&cut(packed)?, &cut(scales)?, &cut(biases)?, *group_size, *bits)
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut pieces = Vec::new();
        let mut start = 0;
        while start < self.output {
            let end = (start + ROWS).min(self.output);
            pieces.push(x.matmul(&self.rows(start, end)?.t()?)?);
            start = end;
        }
        let pieces: Vec<&Array> = pieces.iter().collect();
        let mut y = ops::concatenate(&pieces, -1)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
