//! title: labels, let-else, if-let chains and ranges

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
        let rows = x.dim(-2)?;
        let mut parts: Vec<Array> = vec![];
        let mut start = 0;
        'rows: loop {
            let end = match rows - start {
                left if left <= 0 => break 'rows,
                left @ 1..=5 => start + left,
                _ => start + 5,
            };
            parts.push(self.weight.matmul(&x.slice(-2, start, end)?)?);
            start = end;
        }
        let Some(first) = parts.first() else { return Err(Error::new("no rows")) };
        let y = if parts.len() == 1 {
            first.clone()
        } else {
            ops::concatenate(&parts.iter().collect::<Vec<_>>(), -2)?
        };
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z.astype(x.dtype())?)
    }
}
