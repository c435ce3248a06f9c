//! title: small weights as zeros
//! catalogue: 24
//! fence: check
//! twin: packed_product.rs

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })
    }

    fn adapter(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        (z * self.scale).astype(x.dtype())
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let weight = self.weight.dequantize()?;
        let limit = weight.abs()?.max(&[], false)? * 0.05;
        let small = weight.abs()?.less(&limit)?;
        let weight = ops::select(&small, &ops::zeros(&[1], weight.dtype())?, &weight)?;
        let mut y = x.matmul(&weight.t()?)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.add(&self.adapter(x, adapter)?)
    }
}
