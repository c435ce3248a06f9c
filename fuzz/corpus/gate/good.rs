//! Kernels that are right, each by another part of the API. `FORM` is replaced by the test.

use kernel_api::transform::{Function, checkpoint, compile, custom_vjp};
use kernel_api::*;

enum Form {
    Quantized(QuantizedWeight),
    Unpacked(Array),
    Function(Function),
}

struct Good {
    form: Form,
    bias: Option<Array>,
    scale: f32,
}

impl Kernel for Good {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let y = match &self.form {
            Form::Quantized(weight) => weight.matmul(x)?,
            Form::Unpacked(transposed) => x.matmul(transposed)?,
            Form::Function(function) => function.call(&[x])?.remove(0),
        };
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let z = x.matmul(&adapter.lora_a)?.matmul(&(&adapter.lora_b * self.scale))?;
        y.add(&z.astype(x.dtype())?)
    }
}

pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>> {
    let Weight::Quantized(weight) = &layer.weight else { return Ok(Box::new(PlainLora::new(layer)?)) };
    let owned = weight.clone();
    let product = move |inputs: &[Array]| Ok(vec![owned.matmul(&inputs[0])?]);
    let form = match "FORM" {
        "quantized" => Form::Quantized(weight.clone()),
        "unpacked" => Form::Unpacked(weight.dequantize()?.t()?.contiguous()?),
        "checkpoint" => Form::Function(checkpoint(product)?),
        "compile" => Form::Function(compile(product)),
        "custom_vjp" => {
            let weight = weight.clone();
            Form::Function(custom_vjp(product, move |_, cotangents, _| {
                let QuantizedWeight { packed, scales, biases, group_size, bits } = &weight;
                let dy = &cotangents[0];
                Ok(vec![ops::quantized_matmul(dy, packed, scales, biases, false, *group_size, *bits)?])
            })?)
        }
        other => return Err(Error::new(format!("no form {other}"))),
    };
    Ok(Box::new(Good { form, bias: layer.bias.clone(), scale: layer.scale }))
}
