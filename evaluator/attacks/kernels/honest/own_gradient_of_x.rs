//! title: custom_vjp for the frozen product, with its right gradient

use kernel_api::transform::{Function, custom_vjp};

struct QuantizedLora {
    product: Function,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (there, back) = (weight.clone(), weight.clone());
        let product = custom_vjp(
            move |inputs| Ok(vec![there.matmul(&inputs[0])?]),
            move |_, cotangents, _| {
                let QuantizedWeight { packed, scales, biases, group_size, bits } = &back;
                let dy = &cotangents[0];
                Ok(vec![ops::quantized_matmul(dy, packed, scales, biases, false, *group_size, *bits)?])
            },
        )?;
        Ok(Self { product, bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = self.product.call(&[x])?.remove(0);
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
