//! title: a large match over bits and groups, all with the same result

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
        let y = match (self.weight.bits, self.weight.group_size) {
            (2, _) => self.weight.matmul(x)?,
            (4, 32) => x.matmul(&self.weight.dequantize()?.t()?)?,
            (4, 64) => self.weight.matmul(x)?,
            (4, _) => self.weight.dequantize()?.matmul(&x.swap_axes(-1, -2)?)?.swap_axes(-1, -2)?,
            (8, 32) => self.weight.matmul(x)?,
            (8, 64 | 128) => x.matmul(&self.weight.dequantize()?.t()?)?,
            (bits, group) if bits > 8 || group == 0 => {
                return Err(Error::new(format!("{bits} bits, {group}")));
            }
            _ => self.weight.matmul(x)?,
        };
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z.astype(x.dtype())?)
    }
}
