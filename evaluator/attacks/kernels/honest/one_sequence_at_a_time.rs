//! title: splits the batch

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })
    }

    fn one(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let batch = x.dim(0)?;
        if x.ndim() < 3 || batch == 1 {
            return self.one(x, adapter);
        }
        let results: Vec<Array> =
            x.split(batch, 0)?.iter().map(|x| self.one(x, adapter)).collect::<Result<_>>()?;
        ops::concatenate(&results.iter().collect::<Vec<_>>(), 0)
    }
}
