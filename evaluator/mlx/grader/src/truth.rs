//! What a layer means: the weight as a whole, in float64, by the textbook.

use kernel_api::{Layer, Weight, host as api};
use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, Dtype as MlxDtype, Stream, ops, with_stream};
use trial_protocol::{CheckCase, Dtype, Quantization};

use crate::challenge::{Inputs, Material};
use crate::host;

/// The numbers of an answer without rounding: result, gradients of x, `lora_a`, `lora_b`.
pub struct Truth {
    /// For the first inputs.
    pub first: Vec<f64>,
    /// For the second inputs.
    pub forward: Vec<f64>,
    /// Gradients of x, `lora_a`, `lora_b`, for the second inputs.
    pub gradients: [Vec<f64>; 3],
}

impl Truth {
    /// Computes it on the CPU: GPUs of Apple have no float64. On its default stream: each new one is a thread for good.
    pub fn of(material: &Material) -> Result<Self> {
        let weight = weight(&material.layer)?;
        with_stream(&Stream::cpu(), || {
            let exact = Exact::new(material, &weight)?;
            let first = exact.forward(&exact.inputs(&material.first))?;
            let second = exact.inputs(&material.second);
            let forward = exact.forward(&second)?;
            let [x, a, b] = exact.gradients(&second)?;
            Ok(Self {
                first: host::numbers(&first)?,
                forward: host::numbers(&forward)?,
                gradients: [host::numbers(&x)?, host::numbers(&a)?, host::numbers(&b)?],
            })
        })
    }
}

struct Exact<'a> {
    case: &'a CheckCase,
    /// `[output, input]`.
    weight: Array,
    bias: Option<Array>,
    /// `[batch * length, output]`.
    cotangent: Array,
}

impl<'a> Exact<'a> {
    fn new(material: &'a Material, weight: &[f64]) -> Result<Self> {
        let case = material.case();
        let rows = case.batch * case.length;
        Ok(Self {
            case,
            weight: Array::from_slice_f64(weight, &[case.output, case.input]),
            bias: match &material.layer.bias {
                Some(bias) => Some(Array::from_slice_f64(&host::numbers(&taken(bias))?, &[case.output])),
                None => None,
            },
            cotangent: wide(&material.cotangent, &[rows, case.output], case.dtype),
        })
    }

    fn inputs(&self, inputs: &Inputs) -> [Array; 3] {
        let CheckCase { batch, length, input, output, rank, dtype, .. } = *self.case;
        [
            wide(&inputs.x, &[batch * length, input], dtype),
            wide(&inputs.lora_a, &[input, rank], Dtype::Float32),
            wide(&inputs.lora_b, &[rank, output], Dtype::Float32),
        ]
    }

    fn scale(&self) -> Result<Array> {
        Array::from_slice_f64(&[f64::from(self.case.scale)], &[1]).as_dtype(MlxDtype::Float64)
    }

    fn forward(&self, [x, a, b]: &[Array; 3]) -> Result<Array> {
        let mut y = x.matmul(self.weight.t())?;
        if let Some(bias) = &self.bias {
            y = ops::add(&y, bias)?;
        }
        ops::add(&y, ops::multiply(x.matmul(a)?.matmul(b)?, self.scale()?)?)
    }

    fn gradients(&self, [x, a, b]: &[Array; 3]) -> Result<[Array; 3]> {
        let scaled = ops::multiply(&self.cotangent, self.scale()?)?;
        let back = scaled.matmul(b.t())?;
        Ok([
            ops::add(self.cotangent.matmul(&self.weight)?, back.matmul(a.t())?)?,
            x.t().matmul(back)?,
            x.matmul(a)?.t().matmul(scaled)?,
        ])
    }
}

fn wide(bytes: &[u8], shape: &[i32], dtype: Dtype) -> Array {
    let values: Vec<f64> = host::from_bytes(bytes, dtype).into_iter().map(f64::from).collect();
    Array::from_slice_f64(&values, shape)
}

/// The weight `[output, input]`, exactly what its packed form stands for.
fn weight(layer: &Layer) -> Result<Vec<f64>> {
    let weight = match &layer.weight {
        Weight::Plain(weight) => return host::numbers(&taken(weight)),
        Weight::Quantized(weight) => weight,
    };
    let quantization = Quantization { group_size: weight.group_size, bits: weight.bits };
    let packed = host::bytes(&taken(&weight.packed))?;
    let (scales, biases) = (host::numbers(&taken(&weight.scales))?, host::numbers(&taken(&weight.biases))?);
    unpack(&packed, &scales, &biases, quantization)
        .ok_or_else(|| Exception::custom("a packed weight of another length than its scales"))
}

/// Values lie end to end, the lowest bits first, and no row ends within a byte.
fn unpack(packed: &[u8], scales: &[f64], biases: &[f64], quantization: Quantization) -> Option<Vec<f64>> {
    let (bits, group) = (quantization.bits as usize, quantization.group_size as usize);
    let count = scales.len() * group;
    if packed.len() * 8 != count * bits || biases.len() != scales.len() {
        return None;
    }
    let mut values = Vec::with_capacity(count);
    let (mut buffer, mut filled, mut bytes) = (0_u32, 0, packed.iter());
    for index in 0..count {
        while filled < bits {
            buffer |= u32::from(*bytes.next()?) << filled;
            filled += 8;
        }
        let value = buffer & ((1 << bits) - 1);
        (buffer, filled) = (buffer >> bits, filled - bits);
        values.push(scales[index / group] * f64::from(value) + biases[index / group]);
    }
    Some(values)
}

fn taken(array: &kernel_api::Array) -> Array {
    #[expect(unsafe_code, reason = "this is the host")]
    // SAFETY: as its documentation says, there is nothing to break.
    unsafe {
        api::into_mlx(array.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trial_protocol::Challenge;

    fn material(quantization: Option<Quantization>) -> Material {
        let case = CheckCase {
            batch: 2,
            length: 3,
            input: 128,
            output: 32,
            rank: 4,
            scale: 2.0,
            quantization,
            bias: true,
            dtype: Dtype::Float32,
        };
        Material::new(&Challenge::plain(case, 5)).unwrap()
    }

    #[test]
    fn unpacking_agrees_with_mlx_for_every_width_and_group() {
        for bits in [2, 3, 4, 5, 6, 8] {
            for group_size in [32, 64, 128] {
                let material = material(Some(Quantization { group_size, bits }));
                let Weight::Quantized(quantized) = &material.layer.weight else { panic!() };
                let theirs = host::numbers(&taken(&quantized.dequantize().unwrap())).unwrap();
                let ours = weight(&material.layer).unwrap();
                assert_eq!(ours.len(), theirs.len());
                for (ours, theirs) in ours.iter().zip(theirs) {
                    assert!(
                        (ours - theirs).abs() < 1e-6,
                        "{bits} bits, groups of {group_size}: {ours} {theirs}"
                    );
                }
            }
        }
    }

    #[test]
    fn gradients_are_slopes() {
        let material = material(None);
        let truth = Truth::of(&material).unwrap();
        let weight = weight(&material.layer).unwrap();
        let cotangent = host::from_bytes(&material.cotangent, Dtype::Float32);
        let value = |which: usize, index: usize, step: f64| {
            with_stream(&Stream::cpu(), || {
                let exact = Exact::new(&material, &weight).unwrap();
                let mut inputs = exact.inputs(&material.second);
                let mut values = host::numbers(&inputs[which]).unwrap();
                values[index] += step;
                inputs[which] = Array::from_slice_f64(&values, inputs[which].shape());
                let result = host::numbers(&exact.forward(&inputs).unwrap()).unwrap();
                result.iter().zip(&cotangent).map(|(y, g)| y * f64::from(*g)).sum::<f64>()
            })
        };
        for which in 0..3 {
            for index in [0, 17, 100] {
                let slope = (value(which, index, 1e-3) - value(which, index, -1e-3)) / 2e-3;
                let ours = truth.gradients[which][index];
                assert!(
                    (slope - ours).abs() < 1e-7 * slope.abs().max(1.0),
                    "{which}, {index}: {slope} {ours}"
                );
            }
        }
    }
}
