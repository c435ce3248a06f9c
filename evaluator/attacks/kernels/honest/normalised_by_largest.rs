//! title: divides x by a power of two near its largest, and multiplies again

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
        let wide = x.astype(Dtype::Float32)?;
        let largest = wide
            .abs()?
            .max(&[], true)?
            .reshape(&[1, 1])?
            .maximum(&Array::scalar(1e-20, Dtype::Float32)?)?
            .stop_gradient()?;
        let y = wide
            .divide(&largest)?
            .matmul(&self.weight.dequantize()?.astype(Dtype::Float32)?.t()?)?
            .multiply(&largest)?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let z = wide.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z)?.astype(x.dtype())
    }
}
