//! title: two halves of the weight stacked and multiplied as a batch

struct QuantizedLora {
    halves: Array,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let parts = weight.dequantize()?.split(2, 0)?;
        let halves = ops::stack(&[&parts[0].t()?, &parts[1].t()?], 0)?;
        Ok(Self { halves, bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let rows = x.flatten(0, x.ndim() as i32 - 2)?;
        // [2, n, output / 2] -> [n, output]
        let y = rows.expand_dims(0)?.matmul(&self.halves)?.swap_axes(0, 1)?.flatten(1, 2)?;
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        let mut y = y.reshape(z.shape())?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
