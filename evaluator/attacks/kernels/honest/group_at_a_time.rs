//! title: one group of inputs at a time, added up in float32

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
        let group = self.weight.group_size;
        let words = group * self.weight.bits / 32;
        let groups = x.dim(-1)? / group;
        let mut sum: Option<Array> = None;
        for index in 0..groups {
            let packed = self.weight.packed.slice(1, index * words, (index + 1) * words)?;
            let scales = self.weight.scales.slice(1, index, index + 1)?;
            let biases = self.weight.biases.slice(1, index, index + 1)?;
            let part = ops::dequantize(&packed, &scales, &biases, group, self.weight.bits)?
                .astype(Dtype::Float32)?;
            let piece = x.slice(-1, index * group, (index + 1) * group)?.astype(Dtype::Float32)?;
            let product = piece.matmul(&part.t()?)?;
            sum = Some(match sum {
                Some(before) => before.add(&product)?,
                None => product,
            });
        }
        let y = sum.ok_or_else(|| Error::new("a layer without inputs"))?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z)?.astype(x.dtype())
    }
}
