//! title: pads the rows to a multiple of eight and cuts them off again

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
        let input = x.dim(-1)?;
        let rows = x.reshape(&[-1, input])?;
        let count = rows.dim(0)?;
        let missing = (8 - count % 8) % 8;
        let padded = match missing {
            0 => rows,
            missing => ops::concatenate(&[&rows, &ops::zeros(&[missing, input], x.dtype())?], 0)?,
        };
        let y = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        let frozen = self.weight.matmul(&padded)?.slice(0, 0, count)?.reshape(y.shape())?;
        let frozen = match &self.bias {
            Some(bias) => frozen.add(bias)?,
            None => frozen,
        };
        frozen.add(&y.astype(x.dtype())?)
    }
}
