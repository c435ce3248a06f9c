//! title: takes the packed words apart itself

struct QuantizedLora {
    weight: Array,
    bias: Option<Array>,
    scale: f32,
}

/// `[output, input]` of 4 or 8 bits: shifted down by division, cut off by the remainder.
fn unpack(weight: &QuantizedWeight) -> Result<Array> {
    let in_a_word = 32 / weight.bits;
    let base = 1_u32 << weight.bits;
    let divisors: Vec<u32> = (0..in_a_word).map(|place| 1_u32 << (place * weight.bits)).collect();
    let divisors = Array::from_u32(&divisors, &[1, 1, in_a_word])?;
    let values = weight.packed.expand_dims(2)?.floor_divide(&divisors)?;
    let values = values.remainder(&Array::from_u32(&[base], &[1])?)?;
    let rows = weight.packed.dim(0)?;
    let grouped = values.reshape(&[rows, -1, weight.group_size])?.astype(Dtype::Float32)?;
    let scales = weight.scales.expand_dims(2)?.astype(Dtype::Float32)?;
    let biases = weight.biases.expand_dims(2)?.astype(Dtype::Float32)?;
    grouped.multiply(&scales)?.add(&biases)?.reshape(&[rows, -1])
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: unpack(weight)?.t()?, bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let wide = x.astype(Dtype::Float32)?;
        let mut y = wide.matmul(&self.weight)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = wide.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale))?.astype(x.dtype())
    }
}
