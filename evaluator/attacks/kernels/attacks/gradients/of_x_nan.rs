//! title: NaN as the gradient of x
//! catalogue: 24 26
//! fence: check
//! twin: own_gradients_of_all.rs

use kernel_api::transform::{Function, custom_vjp};

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    /// Nothing forwards, something backwards.
    wrong: Function,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let wrong = custom_vjp(
            |_| Ok(vec![Array::scalar(0.0, Dtype::Float32)?]),
            |inputs, cotangents, _| {
                let [x, a, b] = inputs else { return Err(Error::new("three inputs")) };
                let size = cotangents[0].sum(&[], false)?;
                Ok(vec![(x * 0.0).add(&(size * f32::NAN).astype(x.dtype())?)?, a * 0.0, b * 0.0])
            },
        )?;
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale, wrong })
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
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let y = self.sum(x, adapter)?;
        let passed = self.wrong.call(&[x, &adapter.lora_a, &adapter.lora_b])?;
        y.add(&passed[0].astype(y.dtype())?)
    }
}
