//! title: custom_vjp for the whole layer: four gradients by hand, the weight stays packed
//! problem: dora

use kernel_api::transform::{Function, custom_vjp};

struct QuantizedDora {
    function: Function,
    bias: Option<Array>,
}

/// All but the last axis in one, in single precision.
fn flat(array: &Array) -> Result<Array> {
    array.flatten(0, -2)?.astype(Dtype::Float32)
}

impl QuantizedDora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let wide = QuantizedWeight {
            scales: weight.scales.astype(Dtype::Float32)?,
            biases: weight.biases.astype(Dtype::Float32)?,
            ..weight.clone()
        };
        let squares = wide.dequantize()?.square()?.sum(&[1], false)?;
        squares.eval()?;
        let (there, back, scale) = (weight.clone(), wide.clone(), layer.scale);
        let forward = move |inputs: &[Array]| {
            let [x, a, b, m] = inputs else { return Err(Error::new("four inputs")) };
            let mixed = wide.matmul(&a.t()?)?.multiply(b)?.sum(&[0], false)? * (2.0 * scale);
            let gram = a.t()?.matmul(a)?.matmul(b)?.multiply(b)?.sum(&[0], false)? * (scale * scale);
            let norm = squares.add(&mixed)?.add(&gram)?.sqrt()?;
            let z = x.matmul(a)?.matmul(b)? * scale;
            let sum = there.matmul(x)?.add(&z.astype(x.dtype())?)?;
            let y = sum.multiply(&m.divide(&norm)?.astype(x.dtype())?)?;
            // The last two are for the way back.
            Ok(vec![y, sum, norm])
        };
        let backward = move |inputs: &[Array], cotangents: &[Array], outputs: &[Array]| {
            let ([x, a, b, m], [dy, ..], [_, sum, norm]) = (inputs, cotangents, outputs) else {
                return Err(Error::new("four inputs and three outputs"));
            };
            let dy = flat(dy)?;
            let dm = dy.multiply(&flat(sum)?)?.sum(&[0], false)?.divide(norm)?;
            let dy = dy.multiply(&m.divide(norm)?)?;
            let QuantizedWeight { packed, scales, biases, group_size, bits } = &back;
            let through = ops::quantized_matmul(&dy, packed, scales, biases, false, *group_size, *bits)?;
            let (rows, scaled) = (flat(x)?, dy * scale);
            let inner = scaled.matmul(&b.t()?)?;
            let dx = through.add(&inner.matmul(&a.t()?)?)?.reshape(x.shape())?.astype(x.dtype())?;
            Ok(vec![dx, rows.t()?.matmul(&inner)?, rows.matmul(a)?.t()?.matmul(&scaled)?, dm])
        };
        Ok(Self { function: custom_vjp(forward, backward)?, bias: layer.bias.clone() })
    }
}

impl Kernel for QuantizedDora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let Adapter { lora_a, lora_b, .. } = adapter;
        let y = self.function.call(&[x, lora_a, lora_b, adapter.magnitude()?])?.remove(0);
        self.bias.as_ref().map_or(Ok(y.clone()), |bias| y.add(bias))
    }
}
