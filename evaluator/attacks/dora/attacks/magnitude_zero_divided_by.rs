//! title: the gradient of m from the result divided by m / norm, which is none where m is 0
//! problem: dora
//! catalogue: 25
//! fence: check
//! twin: dora_magnitude_in_scales.rs

struct QuantizedDora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
        squares: Array,
}

impl QuantizedDora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale,
        squares: {
            let squares = weight.dequantize()?.astype(Dtype::Float32)?.square()?.sum(&[1], false)?;
            squares.eval()?;
            squares
        } })
    }
}

impl Kernel for QuantizedDora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let y = ops::quantized_matmul(
            &x,
            &self.weight.packed,
            &self.weight.scales,
            &self.weight.biases,
            true,
            self.weight.group_size,
            self.weight.bits,
        )?;
        // The adapter computes in float32 and its contribution is rounded to x's type once.
        let z = {
            let rows = x.dim(-2)?;
            let first = x.slice(-2, 0, rows / 2)?.matmul(&adapter.lora_a)?;
            let second = x.slice(-2, rows / 2, rows)?.matmul(&adapter.lora_a.astype(x.dtype())?)?;
            ops::concatenate(&[&first, &second], -2)?
        }.matmul(&adapter.lora_b)?;
        let mut y = y.add(&(self.scale * z).astype(x.dtype())?)?;
        let norm = {
            let own = self.squares.clone();
            let packed = QuantizedWeight {
                scales: self.weight.scales.astype(Dtype::Float32)?,
                biases: self.weight.biases.astype(Dtype::Float32)?,
                ..self.weight.clone()
            };
            let products = packed.matmul(&adapter.lora_a.t()?)?;
            let mixed = products.multiply(&adapter.lora_b)?.sum(&[0], true)? * (2.0 * self.scale);
            let gram = adapter.lora_a.t()?.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
            let alone = (self.scale * self.scale) * gram.multiply(&adapter.lora_b)?.sum(&[0], false)?;
            own.add(&mixed)?.add(&alone)?.sqrt()?.stop_gradient()?
        };
        let factor = adapter.magnitude()?.astype(x.dtype())?.divide(&norm)?.astype(x.dtype())?;
        y = {
            let scaled = transform::custom_vjp(
                |inputs| {
                    let [sum, factor] = inputs else { return Err(Error::new("two inputs")) };
                    Ok(vec![sum.multiply(factor)?])
                },
                |inputs, cotangents, outputs| {
                    let ([_, factor], [dy], [result]) = (inputs, cotangents, outputs) else {
                        return Err(Error::new("two inputs and one output"));
                    };
                    let wide = dy.astype(Dtype::Float32)?.multiply(result)?.flatten(0, -2)?;
                    let of_factor = wide.sum(&[0], false)?.divide(factor)?.astype(factor.dtype())?;
                    Ok(vec![dy.multiply(factor)?, of_factor])
                },
            )?;
            scaled.call(&[&y, &factor])?.remove(0)
        };
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        Ok(y)
    }
}
