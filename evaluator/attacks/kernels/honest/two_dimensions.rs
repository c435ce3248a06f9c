//! title: reshapes to two dimensions and back

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
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut shape = x.shape().to_vec();
        let last = shape.len() - 1;
        let rows = x.reshape(&[-1, shape[last]])?;
        let mut y = self.weight.matmul(&rows)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = rows.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        shape[last] = self.output;
        y.add(&(z * self.scale).astype(x.dtype())?)?.reshape(&shape)
    }
}
