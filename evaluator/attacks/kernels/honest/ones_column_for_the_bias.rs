//! title: the bias as one more row of the weight

struct QuantizedLora {
    weight: Array,
    has_bias: bool,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let transposed = weight.dequantize()?.t()?;
        let weight = match &layer.bias {
            Some(bias) => ops::concatenate(&[&transposed, &bias.reshape(&[1, -1])?], 0)?,
            None => transposed,
        };
        Ok(Self { weight, has_bias: layer.bias.is_some(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let y = if self.has_bias {
            let mut shape = x.shape().to_vec();
            shape.pop();
            shape.push(1);
            let ones = ops::ones(&shape, x.dtype())?;
            ops::concatenate(&[x, &ones], -1)?.matmul(&self.weight)?
        } else {
            x.matmul(&self.weight)?
        };
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
