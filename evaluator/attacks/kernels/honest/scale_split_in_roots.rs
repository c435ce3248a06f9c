//! title: the square root of the scale on either factor

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    root: f32,
    sign: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let root = layer.scale.abs().sqrt();
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), root, sign: layer.scale.signum() })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let a = &adapter.lora_a * self.root;
        let b = &adapter.lora_b * (self.root * self.sign);
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.add(&x.matmul(&a)?.matmul(&b)?.astype(x.dtype())?)
    }
}
