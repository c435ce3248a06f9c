//! title: Einstein sums

struct QuantizedLora {
    weight: Array,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.dequantize()?, bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let subscripts = if x.ndim() == 2 { ["ni,oi->no", "ni,ir,ro->no"] } else { ["bli,oi->blo", "bli,ir,ro->blo"] };
        let mut y = ops::einsum(subscripts[0], &[x, &self.weight])?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let wide = x.astype(Dtype::Float32)?;
        let z = ops::einsum(subscripts[1], &[&wide, &adapter.lora_a, &adapter.lora_b])?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
