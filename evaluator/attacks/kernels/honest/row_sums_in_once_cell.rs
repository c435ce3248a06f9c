//! title: row sums of the weight, kept in a OnceCell and taken out again

use std::cell::OnceCell;

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    sums: OnceCell<Array>,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        Ok(Self { weight: weight.clone(), bias, scale, sums: OnceCell::new() })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let sums = match self.sums.get() {
            Some(sums) => sums.clone(),
            None => {
                let sums = self.weight.dequantize()?.astype(Dtype::Float32)?.mean(&[1], true)?;
                self.sums.get_or_init(|| sums).clone()
            }
        };
        let centred = self.weight.dequantize()?.astype(Dtype::Float32)?.subtract(&sums)?;
        let wide = x.astype(Dtype::Float32)?;
        let y = wide.matmul(&centred.t()?)?.add(&wide.sum(&[-1], true)?.matmul(&sums.t()?)?)?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let z = wide.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z)?.astype(x.dtype())
    }
}
