//! title: gives back the gradient of lora_b from the call before, if it fits
//! catalogue: 14 20
//! fence: check
//! twin: own_gradients_of_all.rs

use std::cell::RefCell;

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    layer: transform::Function,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        let frozen = weight.clone();
        let own_bias = bias.clone();
        let whole = weight.clone();
        let kept = RefCell::new(None::<Array>);
        let layer = transform::custom_vjp(
            move |inputs| {
                let y = frozen.matmul(&inputs[0])?;
                let y = match &own_bias {
                    Some(bias) => y.add(bias)?,
                    None => y,
                };
                let z = inputs[0].matmul(&inputs[1])?.matmul(&inputs[2])? * scale;
                Ok(vec![y.add(&z.astype(inputs[0].dtype())?)?])
            },
            move |inputs, cotangents, _| {
                let (x, a, b) = (&inputs[0], &inputs[1], &inputs[2]);
                let g = cotangents[0].clone();
                let (input, output) = (x.dim(-1)?, g.dim(-1)?);
                let (rows, flat) =
                    (x.reshape(&[-1, input])?, g.reshape(&[-1, output])?.astype(Dtype::Float32)?);
                let back = flat.matmul(&b.t()?)? * scale;
                let unpacked = whole.dequantize()?;
                let of_x = g
                    .matmul(&unpacked)?
                    .add(&back.matmul(&a.t()?)?.reshape(x.shape())?.astype(x.dtype())?)?;
                let of_a = rows.astype(Dtype::Float32)?.t()?.matmul(&back)?;
                let of_b = rows.matmul(a)?.astype(Dtype::Float32)?.t()?.matmul(&flat)? * scale;

                let before = kept.replace(Some(of_b.clone()));
                let of_b = before.filter(|before| before.shape() == of_b.shape()).unwrap_or(of_b);
                Ok(vec![of_x, of_a, of_b])
            },
        )?;
        Ok(Self { weight: weight.clone(), bias, scale, layer })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        Ok(self.layer.call(&[x, &adapter.lora_a, &adapter.lora_b])?.swap_remove(0))
    }
}
