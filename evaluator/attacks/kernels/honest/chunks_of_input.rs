//! title: sums partial products over groups of inputs, in float32

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    groups: i32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let groups = layer.input / weight.group_size;
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale, groups })
    }

    fn partial(&self, x: &Array, group: i32) -> Result<Array> {
        let QuantizedWeight { packed, scales, biases, group_size, bits } = &self.weight;
        let words = group_size * bits / 32;
        let packed = packed.slice(1, group * words, (group + 1) * words)?;
        let scales = scales.slice(1, group, group + 1)?;
        let biases = biases.slice(1, group, group + 1)?;
        let weight = ops::dequantize(&packed, &scales, &biases, *group_size, *bits)?;
        let x = x.slice(-1, group * group_size, (group + 1) * group_size)?;
        x.astype(Dtype::Float32)?.matmul(&weight.astype(Dtype::Float32)?.t()?)
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let first = self.partial(x, 0)?;
        let sum = (1..self.groups).try_fold(first, |sum, group| sum.add(&self.partial(x, group)?))?;
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        let mut y = sum.add(&(z * self.scale))?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.astype(x.dtype())
    }
}
