//! title: pads the rows to a multiple of eight and cuts the result

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
        let axis = x.ndim() as i32 - 2;
        let length = x.dim(axis)?;
        let missing = (8 - length % 8) % 8;
        let padded = if missing == 0 {
            x.clone()
        } else {
            let mut shape = x.shape().to_vec();
            shape[axis as usize] = missing;
            ops::concatenate(&[x, &ops::zeros(&shape, x.dtype())?], axis)?
        };
        let mut y = self.weight.matmul(&padded)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = padded.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)?.slice(axis, 0, length)
    }
}
