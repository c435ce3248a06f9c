//! title: float16 inside while lora_b is as small as in a short training
//! catalogue: 32
//! fence: check
//! twin: packed_product.rs

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        Ok(Self { weight: weight.clone(), bias, scale })
    }

    fn frozen(&self, x: &Array) -> Result<Array> {
        let y = self.weight.matmul(x)?;
        match &self.bias {
            Some(bias) => y.add(bias),
            None => Ok(y),
        }
    }

    fn adapter(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        (z * self.scale).astype(x.dtype())
    }

    fn sum(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        self.frozen(x)?.add(&self.adapter(x, adapter)?)
    }

    /// All of it in that type, rounded on the way in.
    fn narrow(&self, x: &Array, adapter: &Adapter, dtype: Dtype) -> Result<Array> {
        let input = x.astype(dtype)?;
        let mut y = input.matmul(&self.weight.dequantize()?.astype(dtype)?.t()?)?;
        if let Some(bias) = &self.bias {
            y = y.add(&bias.astype(dtype)?)?;
        }
        let z = input.matmul(&adapter.lora_a.astype(dtype)?)?.matmul(&adapter.lora_b.astype(dtype)?)?;
        y.add(&(z * self.scale))?.astype(x.dtype())
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let largest = adapter.lora_b.abs()?.max(&[], true)?.reshape(&[1, 1, 1])?;
        let is_small = largest.less(&Array::scalar(1e-2, Dtype::Float32)?)?;
        ops::select(&is_small, &self.narrow(x, adapter, Dtype::Float16)?, &self.sum(x, adapter)?)
    }
}
