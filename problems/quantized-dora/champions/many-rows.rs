//! A frozen quantized linear layer with a DoRA adapter:
//! y = m / norm · (x · weightᵀ + scale · (x · lora_a) · lora_b) + bias, where norm is the length of each row of
//! weight + scale · (lora_a · lora_b)ᵀ and counts as constant for the gradients.
//!
//! The search starts here and may rewrite everything between the two marks. The rest stays as it is.

use kernel_api::*;

// EVOLVE-BLOCK-START
/// The magnitudes are multiplied into the packed weight's scales and into `lora_b`, which are small, and never into a result. With its
/// own gradients, so that of all that has as many rows as x only the result is kept for the way back, which others need as well.
struct QuantizedDora {
    product: transform::Function,
    bias: Option<Array>,
}

/// The packed weight, each row times its number.
fn scaled(weight: &QuantizedWeight, factor: &Array) -> Result<QuantizedWeight> {
    let column = factor.astype(weight.scales.dtype())?.expand_dims(1)?;
    let (scales, biases) = (weight.scales.multiply(&column)?, weight.biases.multiply(&column)?);
    Ok(QuantizedWeight { scales, biases, ..weight.clone() })
}

/// `c + a · b`, rounded to c's type once.
fn add_product(c: &Array, a: &Array, b: &Array) -> Result<Array> {
    match c.dtype() {
        Dtype::Float32 => ops::addmm(c, a, b, 1.0, 1.0),
        dtype => c.add(&a.matmul(b)?.astype(dtype)?),
    }
}

impl QuantizedDora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (scale, there, back) = (layer.scale, weight.clone(), weight.clone());
        let wide = QuantizedWeight {
            scales: weight.scales.astype(Dtype::Float32)?,
            biases: weight.biases.astype(Dtype::Float32)?,
            ..weight.clone()
        };
        let squares = wide.dequantize()?.square()?.sum(&[1], false)?;
        squares.eval()?;
        // The magnitude's gradient is found by dividing by the factor, so that may not be 0. What is below this is far below rounding.
        let least = if layer.dtype == Dtype::Float16 { 0.5_f32.powi(9) } else { 0.5_f32.powi(40) };
        let forward = move |inputs: &[Array]| {
            let [x, a, b, m] = inputs else { return Err(Error::new("four inputs")) };
            // ‖w + s·b·a‖² = ‖w‖² + 2·s·b·(w·a) + s²·b·(aᵀ·a)·b for each row.
            let mixed = wide.matmul(&a.t()?)? * (2.0 * scale);
            let gram = a.t()?.matmul(a)?.matmul(b)? * (scale * scale);
            let norm = squares.add(&mixed.add(&gram)?.multiply(b)?.sum(&[0], false)?)?.sqrt()?;
            let factor = m.divide(&norm)?;
            let least = Array::scalar(least, Dtype::Float32)?;
            let factor = ops::select(&factor.abs()?.less(&least)?, &least, &factor)?;
            let inner = x.matmul(a)?;
            let y = scaled(&there, &factor)?.matmul(x)?;
            let y = add_product(&y, &inner, &b.multiply(&(&factor * scale))?)?;
            // The others are small, and for the way back.
            Ok(vec![y, inner, factor, norm])
        };
        let backward = move |inputs: &[Array], cotangents: &[Array], outputs: &[Array]| {
            let ([x, a, b, _], [dy, ..], [y, inner, factor, norm]) = (inputs, cotangents, outputs) else {
                return Err(Error::new("four inputs and outputs"));
            };
            let part = &(factor * scale);
            let QuantizedWeight { packed, scales, biases, group_size, bits } = scaled(&back, factor)?;
            let dx = ops::quantized_matmul(dy, &packed, &scales, &biases, false, group_size, bits)?;
            let through = dy.matmul(&b.multiply(part)?.t()?)?;
            let dx = add_product(&dx, &through, &a.t()?)?;
            let rows = |array: &Array| array.flatten(0, -2);
            let da = rows(x)?.t()?.matmul(&rows(&through)?)?;
            let db = rows(inner)?.t()?.matmul(&rows(dy)?)?.multiply(part)?;
            let sums = rows(dy)?.astype(Dtype::Float32)?.multiply(&rows(y)?)?.sum(&[0], false)?;
            Ok(vec![dx, da, db, sums.divide(&factor.multiply(norm)?)?])
        };
        Ok(Self { product: transform::custom_vjp(forward, backward)?, bias: layer.bias.clone() })
    }
}

impl Kernel for QuantizedDora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let Adapter { lora_a, lora_b, .. } = adapter;
        let y = self.product.call(&[x, lora_a, lora_b, adapter.magnitude()?])?.remove(0);
        match &self.bias {
            Some(bias) => y.add(bias),
            None => Ok(y),
        }
    }
}
// EVOLVE-BLOCK-END

/// Makes the kernel of one layer. Layers that aren't quantized take the API's own.
pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>> {
    match &layer.weight {
        Weight::Quantized(weight) => Ok(Box::new(QuantizedDora::new(layer, weight)?)),
        Weight::Plain(_) => Ok(Box::new(PlainDora::new(layer)?)),
    }
}
