//! A frozen quantized linear layer with a LoRA adapter: y = x · weightᵀ + bias + scale · (x · lora_a) · lora_b.
//!
//! The search starts here and may rewrite everything between the two marks. The rest stays as it is.

use kernel_api::*;

// EVOLVE-BLOCK-START
use kernel_api::transform::{self, Function};

/// For a processor, where MLX's product with a packed weight is slow forward and fast backward (`bench/mlx_cpu_products.py`): forward the
/// weight is unpacked, for this layer only, and stands on the left, as plain matrix products like it. Backward it stays packed.
struct QuantizedLora {
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

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (scale, there, back) = (layer.scale, pieces(weight)?, weight.clone());
        let forward = move |inputs: &[Array]| {
            let [x, a, b] = inputs else { return Err(Error::new("three inputs")) };
            let rows = x.flatten(0, -2)?;
            let product = times(&there, &rows.t()?.contiguous()?)?;
            let inner = rows.matmul(a)?;
            let z = inner.matmul(&(b * scale))?.astype(x.dtype())?;
            let mut shape = x.shape().to_vec();
            shape.pop();
            shape.push(b.dim(1)?);
            Ok(vec![product.t()?.add(&z)?.contiguous()?.reshape(&shape)?, inner])
        };
        let backward = move |inputs: &[Array], cotangents: &[Array], outputs: &[Array]| {
            let ([x, a, b], [dy, ..], [_, inner]) = (inputs, cotangents, outputs) else {
                return Err(Error::new("three inputs and two outputs"));
            };
            let rows = |array: &Array| array.flatten(0, -2);
            let QuantizedWeight { packed, scales, biases, group_size, bits } = &back;
            let dx = ops::quantized_matmul(dy, packed, scales, biases, false, *group_size, *bits)?;
            let through = dy.matmul(&(b * scale).t()?)?;
            let dx = dx.add(&through.matmul(&a.t()?)?.astype(x.dtype())?)?;
            let da = rows(x)?.t()?.matmul(&rows(&through)?)?;
            let db = (inner * scale).t()?.matmul(&rows(dy)?)?;
            Ok(vec![dx, da, db])
        };
        Ok(Self { product: transform::custom_vjp(forward, backward)?, bias: layer.bias.clone() })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let y = self.product.call(&[x, &adapter.lora_a, &adapter.lora_b])?.remove(0);
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
        Weight::Quantized(weight) => Ok(Box::new(QuantizedLora::new(layer, weight)?)),
        Weight::Plain(_) => Ok(Box::new(PlainLora::new(layer)?)),
    }
}
