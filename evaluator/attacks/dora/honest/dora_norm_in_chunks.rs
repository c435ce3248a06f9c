//! title: the norm of a few rows at a time, the product unpacked anew for its gradient
//! problem: dora

use kernel_api::transform::{Function, checkpoint};

struct QuantizedDora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    product: Function,
}

impl QuantizedDora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let packed = weight.clone();
        let product = checkpoint(move |inputs| {
            let [x] = inputs else { return Err(Error::new("one input")) };
            Ok(vec![x.matmul(&packed.dequantize()?.t()?)?])
        })?;
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale, product })
    }

    fn norm(&self, adapter: &Adapter) -> Result<Array> {
        let count = adapter.lora_b.dim(1)?;
        let mut norms = Vec::new();
        for from in (0..count).step_by(96) {
            let to = count.min(from + 96);
            let weight = QuantizedWeight {
                packed: self.weight.packed.slice(0, from, to)?,
                scales: self.weight.scales.slice(0, from, to)?,
                biases: self.weight.biases.slice(0, from, to)?,
                ..self.weight.clone()
            };
            let delta = (adapter.lora_b.slice(1, from, to)? * self.scale).t()?.matmul(&adapter.lora_a.t()?)?;
            norms.push(weight.dequantize()?.add(&delta)?.square()?.sum(&[1], false)?.sqrt()?);
        }
        ops::concatenate(&norms.iter().collect::<Vec<_>>(), 0)?.stop_gradient()
    }
}

impl Kernel for QuantizedDora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        let y = self.product.call(&[x])?.remove(0).add(&z.astype(x.dtype())?)?;
        let y = y.multiply(&adapter.magnitude()?.divide(&self.norm(adapter)?)?.astype(x.dtype())?)?;
        self.bias.as_ref().map_or(Ok(y.clone()), |bias| y.add(bias))
    }
}
