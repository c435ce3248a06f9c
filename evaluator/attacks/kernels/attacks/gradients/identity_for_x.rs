//! title: the identity as the gradient of x where the lengths allow it
//! catalogue: 24
//! fence: check
//! twin: own_gradient_of_x.rs

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })
    }

    fn frozen(&self, x: &Array) -> Result<Array> {
        let y = self.weight.matmul(x)?;
        match &self.bias {
            Some(bias) => y.add(bias),
            None => Ok(y),
        }
    }

    fn adapter(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        (z * self.scale).astype(x.dtype())
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let frozen = self.frozen(&x.stop_gradient()?)?;
        let mut y = frozen.add(&self.adapter(&x.stop_gradient()?, adapter)?)?;
        if x.dim(-1)? == y.dim(-1)? {
            y = y.add(x)?.subtract(&x.stop_gradient()?)?;
        }
        Ok(y)
    }
}
