//! title: seven rows at a time, and what remains

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

    fn rows(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let y = self.weight.matmul(x)?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z.astype(x.dtype())?)
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let input = x.dim(-1)?;
        let rows = x.reshape(&[-1, input])?;
        let count = rows.dim(0)?;
        let mut pieces = Vec::new();
        let mut start = 0;
        loop {
            if start >= count {
                break;
            }
            let end = (start + 7).min(count);
            pieces.push(self.rows(&rows.slice(0, start, end)?, adapter)?);
            start = end;
        }
        let pieces: Vec<&Array> = pieces.iter().collect();
        let joined = ops::concatenate(&pieces, 0)?;
        let mut shape = x.shape().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = joined.dim(1)?;
        }
        joined.reshape(&shape)
    }
}
