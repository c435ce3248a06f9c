//! title: custom_vjp for the whole layer: three gradients by hand

use kernel_api::transform::{Function, custom_vjp};

struct QuantizedLora {
    function: Function,
}

/// All but the last axis in one.
fn flat(array: &Array) -> Result<Array> {
    let width = array.dim(-1)?;
    array.reshape(&[-1, width])?.astype(Dtype::Float32)
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (there, back) = (weight.clone(), weight.clone());
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        let forward = move |inputs: &[Array]| {
            let [x, a, b] = inputs else { return Err(Error::new("three inputs")) };
            let mut y = there.matmul(x)?;
            if let Some(bias) = &bias {
                y = y.add(bias)?;
            }
            let z = x.matmul(a)?.matmul(b)?;
            Ok(vec![y.add(&(z * scale).astype(x.dtype())?)?])
        };
        let backward = move |inputs: &[Array], cotangents: &[Array], _: &[Array]| {
            let ([x, a, b], [dy]) = (inputs, cotangents) else { return Err(Error::new("three inputs")) };
            let QuantizedWeight { packed, scales, biases, group_size, bits } = &back;
            let through_weight =
                ops::quantized_matmul(dy, packed, scales, biases, false, *group_size, *bits)?;
            let (rows, gradient) = (flat(x)?, flat(dy)? * scale);
            let inner = gradient.matmul(&b.t()?)?;
            let through_adapter = inner.matmul(&a.t()?)?.reshape(x.shape())?;
            let dx = through_weight.astype(Dtype::Float32)?.add(&through_adapter)?.astype(x.dtype())?;
            let da = rows.t()?.matmul(&inner)?;
            let db = rows.matmul(a)?.t()?.matmul(&gradient)?;
            Ok(vec![dx, da, db])
        };
        Ok(Self { function: custom_vjp(forward, backward)? })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        Ok(self.function.call(&[x, &adapter.lora_a, &adapter.lora_b])?.remove(0))
    }
}
