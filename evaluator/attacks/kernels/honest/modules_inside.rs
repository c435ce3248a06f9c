//! title: nested modules, constants, let-else, labelled loops

mod layout {
    pub(super) const STEP: i32 = 64;

    /// Cuts `length` into pieces of at most `STEP`.
    pub(super) const fn pieces(length: i32) -> i32 {
        (length + STEP - 1) / STEP
    }
}

mod product {
    use super::layout::{STEP, pieces};
    use super::*;

    pub(super) fn packed(weight: &QuantizedWeight, x: &Array, output: i32) -> Result<Array> {
        let mut results = vec![];
        'pieces: for piece in 0.. {
            if piece >= pieces(output) {
                break 'pieces;
            }
            let (start, end) = (piece * STEP, ((piece + 1) * STEP).min(output));
            let cut = |array: &Array| array.slice(0, start, end);
            let QuantizedWeight { packed, scales, biases, group_size, bits } = weight;
            let (packed, scales, biases) = (cut(packed)?, cut(scales)?, cut(biases)?);
            results.push(ops::quantized_matmul(x, &packed, &scales, &biases, true, *group_size, *bits)?);
        }
        let [first, rest @ ..] = results.as_slice() else { return Err(Error::new("no output")) };
        let all: Vec<&Array> = std::iter::once(first).chain(rest).collect();
        ops::concatenate(&all, -1)
    }
}

struct QuantizedLora {
    weight: QuantizedWeight,
    layer: Layer,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), layer: layer.clone() })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let y = product::packed(&self.weight, x, self.layer.output)?;
        let y = self.layer.bias.as_ref().map_or_else(|| Ok(y.clone()), |bias| y.add(bias))?;
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.layer.scale).astype(x.dtype())?)
    }
}
