//! title: rows of unit length and their norms, both prepared

struct QuantizedLora {
    directions: Array,
    norms: Array,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let weight = weight.dequantize()?.astype(Dtype::Float32)?;
        let norms = weight.square()?.sum(&[1], true)?.sqrt()?.maximum(&Array::scalar(1e-20, Dtype::Float32)?)?;
        let directions = weight.divide(&norms)?.t()?;
        let norms = norms.squeeze(&[1])?;
        directions.eval()?;
        norms.eval()?;
        Ok(Self { directions, norms, bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let wide = x.astype(Dtype::Float32)?;
        let mut y = wide.matmul(&self.directions)?.multiply(&self.norms)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = wide.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale))?.astype(x.dtype())
    }
}
