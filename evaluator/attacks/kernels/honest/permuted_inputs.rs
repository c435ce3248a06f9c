//! title: inputs in another order on both sides

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    order: Array,
    turned: Array,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        let order: Vec<u32> = (0..layer.input as u32).rev().collect();
        let order = Array::from_u32(&order, &[layer.input])?;
        let turned = weight.dequantize()?.take(&order, 1)?.t()?;
        Ok(Self { weight: weight.clone(), bias, scale, order, turned })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let turned = x.take(&self.order, -1)?;
        let y = turned.matmul(&self.turned)?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z.astype(x.dtype())?)
    }
}
