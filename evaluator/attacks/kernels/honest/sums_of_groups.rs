//! title: the groups' biases by sums over x, the rest by a product

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
        let shape = x.shape().to_vec();
        let (group, bits) = (self.weight.group_size, self.weight.bits);
        let mut grouped = shape.clone();
        let groups = x.dim(-1)? / group;
        grouped.pop();
        grouped.extend([groups, group]);
        let zero = ops::zeros(self.weight.biases.shape(), self.weight.biases.dtype())?;
        let y = ops::quantized_matmul(x, &self.weight.packed, &self.weight.scales, &zero, true, group, bits)?;
        let sums = x.astype(Dtype::Float32)?.reshape(&grouped)?.sum(&[-1], false)?;
        let shift = sums.matmul(&self.weight.biases.astype(Dtype::Float32)?.t()?)?;
        let y = y.astype(Dtype::Float32)?.add(&shift)?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z)?.astype(x.dtype())
    }
}
