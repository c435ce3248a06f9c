//! title: everything computed again for the gradients

use kernel_api::transform::{Function, checkpoint};

struct QuantizedLora {
    function: Function,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (weight, bias, scale) = (weight.clone(), layer.bias.clone(), layer.scale);
        let function = checkpoint(move |inputs| {
            let [x, a, b] = inputs else { return Err(Error::new("three inputs")) };
            let mut y = weight.matmul(x)?;
            if let Some(bias) = &bias {
                y = y.add(bias)?;
            }
            let z = x.matmul(a)?.matmul(b)?;
            Ok(vec![y.add(&(z * scale).astype(x.dtype())?)?])
        })?;
        Ok(Self { function })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        Ok(self.function.call(&[x, &adapter.lora_a, &adapter.lora_b])?.remove(0))
    }
}
