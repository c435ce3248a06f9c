//! title: repacks the words of the weight into two blocks of rows

struct QuantizedLora {
    blocks: Vec<QuantizedWeight>,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let middle = layer.output / 2;
        let block = |start: i32, end: i32| -> Result<QuantizedWeight> {
            let cut = |array: &Array| array.slice(0, start, end)?.contiguous();
            let (packed, scales, biases) = (cut(&weight.packed)?, cut(&weight.scales)?, cut(&weight.biases)?);
            Ok(QuantizedWeight { packed, scales, biases, ..weight.clone() })
        };
        let blocks = vec![block(0, middle)?, block(middle, layer.output)?];
        Ok(Self { blocks, bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let parts = self.blocks.iter().map(|block| block.matmul(x)).collect::<Result<Vec<_>>>()?;
        let mut y = ops::concatenate(&parts.iter().collect::<Vec<_>>(), -1)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
