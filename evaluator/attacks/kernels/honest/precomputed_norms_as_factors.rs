//! title: rows of unit length, and their lengths as factors

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    unit: Array,
    norms: Array,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        let whole = weight.dequantize()?.astype(Dtype::Float32)?;
        let norms =
            whole.square()?.sum(&[1], true)?.sqrt()?.maximum(&Array::scalar(1e-12, Dtype::Float32)?)?;
        let unit = whole.divide(&norms)?.t()?.contiguous()?;
        let norms = norms.reshape(&[-1])?;
        unit.eval()?;
        norms.eval()?;
        Ok(Self { weight: weight.clone(), bias, scale, unit, norms })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let wide = x.astype(Dtype::Float32)?;
        let y = wide.matmul(&self.unit)?.multiply(&self.norms)?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let z = wide.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z)?.astype(x.dtype())
    }
}
