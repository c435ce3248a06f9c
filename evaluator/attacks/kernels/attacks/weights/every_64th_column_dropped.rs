//! title: every sixty-fourth input counts as nothing
//! catalogue: 24
//! fence: check
//! twin: packed_product.rs

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    changed: Array,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        let places = ops::arange(0, layer.input)?
            .remainder(&Array::from_slice(&[64.0], &[1])?.astype(Dtype::Int32)?)?;
        let last = places.equal(&Array::from_slice(&[63.0], &[1])?.astype(Dtype::Int32)?)?;
        let whole = weight.dequantize()?;
        let changed = ops::select(&last, &ops::zeros(&[1], whole.dtype())?, &whole)?.t()?;
        Ok(Self { weight: weight.clone(), bias, scale, changed })
    }

    fn adapter(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        (z * self.scale).astype(x.dtype())
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = x.matmul(&self.changed)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.add(&self.adapter(x, adapter)?)
    }
}
