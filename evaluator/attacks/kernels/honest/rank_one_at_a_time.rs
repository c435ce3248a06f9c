//! title: a sum of rank-one updates

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let rank = adapter.lora_a.dim(1)?;
        let mut sum: Option<Array> = None;
        for index in 0..rank {
            let column = adapter.lora_a.slice(1, index, index + 1)?;
            let row = adapter.lora_b.slice(0, index, index + 1)?;
            let term = x.matmul(&column)?.multiply(&row)?;
            sum = Some(match sum {
                Some(sum) => sum.add(&term)?,
                None => term,
            });
        }
        let Some(z) = sum else { return Ok(y) };
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
