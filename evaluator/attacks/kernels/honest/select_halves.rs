//! title: even and odd columns apart, by a mask

struct QuantizedLora {
    weight: Array,
    even: Array,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let two = ops::full(&[layer.input], 2.0, Dtype::Float32)?;
        let columns = ops::arange(0, layer.input)?.astype(Dtype::Float32)?;
        let even = columns.remainder(&two)?.equal(&ops::zeros(&[layer.input], Dtype::Float32)?)?;
        Ok(Self { weight: weight.dequantize()?.t()?, even, bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let nothing = ops::zeros(&[1], x.dtype())?;
        let evens = ops::select(&self.even, x, &nothing)?.astype(Dtype::Float32)?;
        let odds = ops::select(&self.even, &nothing, x)?.astype(Dtype::Float32)?;
        let mut y = evens.matmul(&self.weight)?.add(&odds.matmul(&self.weight)?)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale))?.astype(x.dtype())
    }
}
