//! A frozen quantized linear layer with a DoRA adapter:
//! y = m / norm · (x · weightᵀ + scale · (x · lora_a) · lora_b) + bias, where norm is the length of each row of
//! weight + scale · (lora_a · lora_b)ᵀ and counts as constant for the gradients.
//!
//! The search starts here and may rewrite everything between the two marks. The rest stays as it is.

use kernel_api::*;

// EVOLVE-BLOCK-START
use kernel_api::transform::{self, Function};

/// For a processor, where MLX's product with a packed weight is slow forward and fast backward (`bench/mlx_cpu_products.py`): forward the
/// weight is unpacked, for this layer only, and stands on the left, as plain matrix products like it; with x goes lora_a, for the
/// norm by its parts. Backward it stays packed.
struct QuantizedDora {
    product: Function,
    bias: Option<Array>,
}

/// The weight in pieces of so many values, rows kept whole: one at a time is unpacked, and stays in the processor's cache.
const PIECE: i32 = 1 << 18;

fn pieces(weight: &QuantizedWeight) -> Result<Vec<QuantizedWeight>> {
    let (outputs, inputs) = (weight.packed.dim(0)?, weight.scales.dim(1)? * weight.group_size);
    let rows = (PIECE / inputs).max(1);
    let piece = |start: i32| {
        let part = |array: &Array| array.slice(0, start, (start + rows).min(outputs));
        let (packed, scales, biases) = (part(&weight.packed)?, part(&weight.scales)?, part(&weight.biases)?);
        Ok(QuantizedWeight { packed, scales, biases, ..weight.clone() })
    };
    (0..outputs).step_by(rows as usize).map(piece).collect()
}

/// `weight · right`, with the weight unpacked piece by piece. MLX would unpack all pieces first, so each waits for the one before it: to
/// its scales is added a 0 of that one's product.
fn times(pieces: &[QuantizedWeight], right: &Array) -> Result<Array> {
    let mut products: Vec<Array> = Vec::new();
    for piece in pieces {
        let scales = match products.last() {
            Some(before) => {
                let first = before.slice(0, 0, 1)?.slice(1, 0, 1)?;
                let none = first.abs()?.minimum(&Array::scalar(0.0, first.dtype())?)?;
                piece.scales.add(&none.astype(piece.scales.dtype())?)?
            }
            None => piece.scales.clone(),
        };
        let unpacked = QuantizedWeight { scales, ..piece.clone() }.dequantize()?;
        products.push(unpacked.astype(right.dtype())?.matmul(right)?);
    }
    ops::concatenate(&products.iter().collect::<Vec<_>>(), 0)
}

impl QuantizedDora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (scale, there, back) = (layer.scale, pieces(weight)?, weight.clone());
        let squares = weight.dequantize()?.astype(Dtype::Float32)?.square()?.sum(&[1], false)?;
        squares.eval()?;
        // The magnitude's gradient is found by dividing by the factor, so that may not be 0. What is below this is far below rounding.
        let least = if layer.dtype == Dtype::Float16 { 0.5_f32.powi(9) } else { 0.5_f32.powi(40) };
        let forward = move |inputs: &[Array]| {
            let [x, a, b, m] = inputs else { return Err(Error::new("four inputs")) };
            let rows = x.flatten(0, -2)?;
            let n = rows.dim(0)?;
            let columns = rows.t()?.contiguous()?;
            let (product, mixed) = if x.dtype() == Dtype::Float32 {
                let both = times(&there, &ops::concatenate(&[&columns, a], 1)?)?;
                (both.slice(1, 0, n)?, both.slice(1, n, n + a.dim(1)?)?)
            } else {
                (times(&there, &columns)?, times(&there, a)?)
            };
            // ‖w + s·b·a‖² = ‖w‖² + 2·s·b·(w·a) + s²·b·(aᵀ·a)·b for each row.
            let gram = a.t()?.matmul(a)?.matmul(b)? * (scale * scale);
            let sum = (mixed.t()? * (2.0 * scale)).add(&gram)?.multiply(b)?.sum(&[0], false)?;
            let norm = squares.add(&sum)?.sqrt()?;
            let factor = m.divide(&norm)?;
            let least = Array::scalar(least, Dtype::Float32)?;
            let factor = ops::select(&factor.abs()?.less(&least)?, &least, &factor)?;
            let inner = rows.matmul(a)?;
            let z = (inner.matmul(b)? * scale).astype(x.dtype())?;
            let y = product.t()?.add(&z)?.multiply(&factor.astype(x.dtype())?)?.contiguous()?;
            let mut shape = x.shape().to_vec();
            shape.pop();
            shape.push(b.dim(1)?);
            // The others are small, and for the way back.
            Ok(vec![y.reshape(&shape)?, inner, factor, norm])
        };
        let backward = move |inputs: &[Array], cotangents: &[Array], outputs: &[Array]| {
            let ([x, a, b, _], [dy, ..], [y, inner, factor, norm]) = (inputs, cotangents, outputs) else {
                return Err(Error::new("four inputs and outputs"));
            };
            let rows = |array: &Array| array.flatten(0, -2);
            let QuantizedWeight { packed, scales, biases, group_size, bits } = &back;
            let dq = dy.multiply(&factor.astype(dy.dtype())?)?;
            let dx = ops::quantized_matmul(&dq, packed, scales, biases, false, *group_size, *bits)?;
            let through = dq.matmul(&(b * scale).t()?)?;
            let dx = dx.add(&through.matmul(&a.t()?)?.astype(x.dtype())?)?;
            let da = rows(x)?.t()?.matmul(&rows(&through)?)?;
            let db = (inner * scale).t()?.matmul(&rows(&dq)?)?;
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
