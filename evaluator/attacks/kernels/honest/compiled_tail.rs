//! title: a compiled closure for the elementwise part

use kernel_api::transform::Function;

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    tail: Function,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let scale = layer.scale;
        let tail = transform::compile(move |inputs| {
            let [y, z] = inputs else { return Err(Error::new("two inputs")) };
            Ok(vec![y.add(&(z * scale).astype(y.dtype())?)?])
        });
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), tail })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        Ok(self.tail.call(&[&y, &z])?.remove(0))
    }
}
