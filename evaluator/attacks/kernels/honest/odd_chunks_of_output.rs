//! title: unpacks thirty-seven outputs at a time

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    pieces: Vec<(Array, Array, Array)>,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        let mut pieces = Vec::new();
        for start in (0..layer.output).step_by(37) {
            let end = layer.output.min(start + 37);
            let part = |array: &Array| array.slice(0, start, end);
            pieces.push((part(&weight.packed)?, part(&weight.scales)?, part(&weight.biases)?));
        }
        Ok(Self { weight: weight.clone(), bias, scale, pieces })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let pieces = self
            .pieces
            .iter()
            .map(|(packed, scales, biases)| {
                let part = ops::dequantize(packed, scales, biases, self.weight.group_size, self.weight.bits)?;
                x.matmul(&part.t()?)
            })
            .collect::<Result<Vec<_>>>()?;
        let y = ops::concatenate(&pieces.iter().collect::<Vec<_>>(), -1)?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z.astype(x.dtype())?)
    }
}
