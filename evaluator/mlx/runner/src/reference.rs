//! What a layer means: the weight as a whole, in float32, by the textbook.

use kernel_api::{Layer, QuantizedWeight, Weight, host};
use mlx_rs::error::Result;
use mlx_rs::random::{normal, split, uniform};
use mlx_rs::transforms::eval;
use mlx_rs::{Array, Dtype, ops};
use trial_protocol::{CheckCase, Quantization};

/// A layer with random weights, and the inputs to compare on.
pub(crate) struct Example {
    /// For the kernel.
    pub(crate) layer: Layer,
    /// x, `lora_a`, `lora_b`.
    pub(crate) inputs: [Array; 3],
    /// Other inputs of another batch size, to be computed first: a kernel that keeps results would give these again.
    pub(crate) decoys: [Array; 3],
    /// What flows back into the result, `[batch, length, output]`.
    pub(crate) cotangent: Array,
    /// The weight in float32, `[output, input]`, exactly what its packed form stands for.
    weight: Array,
}

impl Example {
    /// Everything random comes from `key`. Both parts of the sum, weight and adapter, come out of the same size, so that
    /// an error in one isn't hidden by the other.
    pub(crate) fn new(case: &CheckCase, key: &Array) -> Result<Self> {
        let dtype = dtype(case.dtype);
        let mut keys = Keys { next: key.clone() };
        let spread = (1.0 / case.input as f32).sqrt();
        let weight = keys.normal(&[case.output, case.input], spread)?.as_dtype(dtype)?;
        let bias = if case.bias { Some(keys.normal(&[case.output], 1.0)?.as_dtype(dtype)?) } else { None };
        let (api_weight, weight) = match case.quantization {
            Some(quantization) => {
                let Quantization { group_size, bits: width } = quantization;
                let (packed, scales, biases) = ops::quantize(&weight, group_size, width)?;
                // A model's weights are there before a kernel is. (Left to be computed, a kernel's compiled function
                // would take the quantization in, and round it in its own way.)
                eval([&packed, &scales, &biases])?;
                let wide = [scales.as_dtype(Dtype::Float32)?, biases.as_dtype(Dtype::Float32)?];
                let exact = ops::dequantize(&packed, &wide[0], &wide[1], group_size, width)?;
                let [packed, scales, biases] = [packed, scales, biases].map(host::wrap);
                (
                    Weight::Quantized(QuantizedWeight { packed, scales, biases, group_size, bits: width }),
                    exact,
                )
            }
            None => (Weight::Plain(host::wrap(weight.clone())), weight.as_dtype(Dtype::Float32)?),
        };
        let layer = Layer {
            weight: api_weight,
            bias: bias.map(host::wrap),
            scale: case.scale,
            rank: case.rank,
            input: case.input,
            output: case.output,
            dtype: dtype.into(),
        };
        let inputs = keys.inputs(case, case.batch, spread)?;
        let decoys = keys.inputs(case, case.batch + 1, spread)?;
        let cotangent = keys.normal(&[case.batch, case.length, case.output], 1.0)?.as_dtype(dtype)?;
        Ok(Self { layer, inputs, decoys, cotangent, weight })
    }

    /// `x · weightᵀ + bias + scale · (x · lora_a) · lora_b` in float32.
    pub(crate) fn forward(&self, inputs: &[Array]) -> Result<Array> {
        let [x, lora_a, lora_b] = inputs else {
            return Err(mlx_rs::error::Exception::custom("a layer takes x, lora_a and lora_b"));
        };
        let mut y = x.matmul(self.weight.t())?;
        if let Some(bias) = &self.layer.bias {
            #[expect(unsafe_code, reason = "this is the host")]
            // SAFETY: as its documentation says, there is nothing to break.
            let bias = unsafe { host::into_mlx(bias.clone()) };
            y = ops::add(&y, bias.as_dtype(Dtype::Float32)?)?;
        }
        let z = x.matmul(lora_a)?.matmul(lora_b)?;
        ops::add(&y, ops::multiply(&z, Array::from_f32(self.layer.scale))?)
    }
}

/// A stream of random keys.
struct Keys {
    next: Array,
}

impl Keys {
    fn take(&mut self) -> Result<Array> {
        let (key, next) = split(&self.next, 2)?;
        self.next = next;
        Ok(key)
    }

    fn normal(&mut self, shape: &[i32], deviation: f32) -> Result<Array> {
        let key = self.take()?;
        normal::<f32>(shape, 0.0, deviation, &key)
    }

    /// x, `lora_a` as MLX-LM begins it, and a `lora_b` that makes the adapter's part as large as the weight's.
    fn inputs(&mut self, case: &CheckCase, batch: i32, spread: f32) -> Result<[Array; 3]> {
        let x = self.normal(&[batch, case.length, case.input], 1.0)?.as_dtype(dtype(case.dtype))?;
        let key = self.take()?;
        let lora_a = uniform::<f32, f32>(-spread, spread, &[case.input, case.rank], &key)?;
        let factor = if case.scale == 0.0 { 1.0 } else { case.scale.abs() };
        let lora_b = self.normal(&[case.rank, case.output], (3.0 / case.rank as f32).sqrt() / factor)?;
        Ok([x, lora_a, lora_b])
    }
}

fn dtype(dtype: trial_protocol::Dtype) -> Dtype {
    match dtype {
        trial_protocol::Dtype::Float32 => Dtype::Float32,
        trial_protocol::Dtype::Float16 => Dtype::Float16,
        trial_protocol::Dtype::Bfloat16 => Dtype::Bfloat16,
    }
}
