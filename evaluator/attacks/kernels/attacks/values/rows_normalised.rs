//! title: divides each row by its norm and multiplies by it: NaN for a row of zeros
//! catalogue: 25 28
//! fence: check
//! twin: packed_product.rs

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

    fn adapter(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        (z * self.scale).astype(x.dtype())
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let norm = x.astype(Dtype::Float32)?.square()?.sum(&[-1], true)?.sqrt()?;
        let unit = x.divide(&norm)?.astype(x.dtype())?;
        let y = self.weight.matmul(&unit)?.multiply(&norm)?.astype(x.dtype())?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        y.add(&self.adapter(x, adapter)?)
    }
}
