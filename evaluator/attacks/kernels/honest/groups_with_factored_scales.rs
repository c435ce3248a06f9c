//! title: integers multiplied first, scales and biases of the groups afterwards

struct QuantizedLora {
    integers: Array,
    scales: Array,
    biases: Array,
    groups: i32,
    group_size: i32,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let QuantizedWeight { packed, scales, biases, group_size, bits } = weight;
        let (ones, zeros) =
            (ops::ones(scales.shape(), Dtype::Float32)?, ops::zeros(scales.shape(), Dtype::Float32)?);
        let groups = layer.input / group_size;
        let integers = ops::dequantize(packed, &ones, &zeros, *group_size, *bits)?;
        let integers = integers.reshape(&[layer.output, groups, *group_size])?.transpose(&[1, 2, 0])?;
        let wide = |array: &Array| array.astype(Dtype::Float32)?.t();
        let (scales, biases) = (wide(scales)?.expand_dims(1)?, wide(biases)?.expand_dims(1)?);
        let (bias, scale, group_size) = (layer.bias.clone(), layer.scale, *group_size);
        Ok(Self { integers, scales, biases, groups, group_size, bias, scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let wide = x.astype(Dtype::Float32)?;
        let grouped = wide.reshape(&[-1, self.groups, self.group_size])?.swap_axes(0, 1)?;
        let sums = grouped.sum(&[-1], true)?;
        let products = grouped.matmul(&self.integers)?;
        let y = products.multiply(&self.scales)?.add(&sums.multiply(&self.biases)?)?.sum(&[0], false)?;
        let z = wide.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        let mut y = y.reshape(z.shape())?.add(&(z * self.scale))?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.astype(x.dtype())
    }
}
