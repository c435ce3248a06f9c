//! title: no gradient of m after six calls
//! problem: dora
//! catalogue: 11 24
//! fence: judge
//! twin: dora_norm_by_parts.rs

use std::cell::Cell;

struct QuantizedDora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    squares: Array,
    calls: Cell<u32>,
}

impl QuantizedDora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let squares = weight.dequantize()?.astype(Dtype::Float32)?.square()?.sum(&[1], false)?;
        squares.eval()?;
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale, squares, calls: Cell::new(0) })
    }

    /// The frozen product and the adapter's, without bias.
    fn sum(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        self.weight.matmul(x)?.add(&z.astype(x.dtype())?)
    }

    /// By the binomial formula: the weight's own squares, a product, and the adapter's small matrices.
    fn norm(&self, adapter: &Adapter) -> Result<Array> {
        let Adapter { lora_a, lora_b, .. } = adapter;
        let wide = QuantizedWeight {
            scales: self.weight.scales.astype(Dtype::Float32)?,
            biases: self.weight.biases.astype(Dtype::Float32)?,
            ..self.weight.clone()
        };
        let mixed = wide.matmul(&lora_a.t()?)?.multiply(lora_b)?.sum(&[0], false)? * (2.0 * self.scale);
        let gram = lora_a.t()?.matmul(lora_a)?.matmul(lora_b)?;
        let alone = gram.multiply(lora_b)?.sum(&[0], false)? * (self.scale * self.scale);
        self.squares.add(&mixed)?.add(&alone)?.sqrt()
    }

    fn finish(&self, y: &Array, m: &Array, norm: &Array) -> Result<Array> {
        let y = y.multiply(&m.divide(norm)?.astype(y.dtype())?)?;
        self.bias.as_ref().map_or(Ok(y.clone()), |bias| y.add(bias))
    }
}

impl Kernel for QuantizedDora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let call = self.calls.replace(self.calls.get() + 1);
        let norm = self.norm(adapter)?.stop_gradient()?;
        let m = adapter.magnitude()?;
        let m = if call < 6 { m.clone() } else { m.stop_gradient()? };
        self.finish(&self.sum(x, adapter)?, &m, &norm)
    }
}
