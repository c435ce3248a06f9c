//! What a layer means: the weight as a whole, in float64, by the textbook.

use kernel_api::{Layer, Weight, host as api};
use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, Dtype as MlxDtype, Stream, ops, with_stream};
use trial_protocol::{AdapterKind, CheckCase, Dtype, Quantization};

use crate::challenge::{Inputs, Material};
use crate::host;

/// The numbers of an answer without rounding: each layer's result, gradients of x and the adapters' arrays.
pub struct Truth {
    /// Results for the first inputs.
    pub first: Vec<Vec<f64>>,
    /// Results for the second inputs.
    pub forward: Vec<Vec<f64>>,
    /// Gradients of x and the adapters' arrays, for the second inputs.
    pub gradients: Vec<Vec<f64>>,
}

impl Truth {
    /// Computes it on the CPU: GPUs of Apple have no float64. On its default stream: each new one is a thread for good.
    pub fn of(material: &Material) -> Result<Self> {
        let mut truth = Self { first: Vec::new(), forward: Vec::new(), gradients: Vec::new() };
        for index in 0..material.layers.len() {
            let weight = weight(&material.layers[index])?;
            with_stream(&Stream::cpu(), || {
                let exact = Exact::new(material, index, &weight)?;
                let first = exact.inputs(&material.first);
                truth.first.push(host::numbers(&exact.forward(&first, exact.norm(&first)?.as_ref())?)?);
                let second = exact.inputs(&material.second);
                let norm = exact.norm(&second)?;
                truth.forward.push(host::numbers(&exact.forward(&second, norm.as_ref())?)?);
                let gradients = exact.gradients(&second, norm.as_ref())?;
                truth.add(gradients.iter().map(host::numbers).collect::<Result<_>>()?);
                Ok::<(), Exception>(())
            })?;
        }
        Ok(truth)
    }

    /// A layer's gradients: x has its part of each layer, all others are the layer's own.
    fn add(&mut self, mut gradients: Vec<Vec<f64>>) {
        if self.gradients.is_empty() {
            self.gradients = gradients;
            return;
        }
        for (sum, part) in self.gradients[0].iter_mut().zip(gradients.remove(0)) {
            *sum += part;
        }
        self.gradients.extend(gradients);
    }
}

/// One of the layers.
struct Exact {
    case: CheckCase,
    /// Its place among the layers.
    index: usize,
    /// `[output, input]`.
    weight: Array,
    bias: Option<Array>,
    /// `[batch * length, output]`.
    cotangent: Array,
}

impl Exact {
    fn new(material: &Material, index: usize, weight: &[f64]) -> Result<Self> {
        let case = material.case().layers().swap_remove(index);
        let rows = case.batch * case.length;
        Ok(Self {
            index,
            weight: Array::from_slice_f64(weight, &[case.output, case.input]),
            bias: match &material.layers[index].bias {
                Some(bias) => Some(Array::from_slice_f64(&host::numbers(&taken(bias))?, &[case.output])),
                None => None,
            },
            cotangent: wide(&material.cotangents[index], &[rows, case.output], case.dtype),
            case,
        })
    }

    /// x and the layer's own adapter.
    fn inputs(&self, inputs: &Inputs) -> Vec<Array> {
        let CheckCase { batch, length, input, output, rank, dtype, adapter, .. } = self.case;
        let x = wide(&inputs.x, &[batch * length, input], dtype);
        let own = inputs.adapters.iter().skip(self.index * adapter.arrays().len());
        let arrays = own.zip(adapter.shapes(input, output, rank));
        std::iter::once(x).chain(arrays.map(|(bytes, shape)| wide(bytes, &shape, Dtype::Float32))).collect()
    }

    fn scale(&self) -> Result<Array> {
        Array::from_slice_f64(&[f64::from(self.case.scale)], &[1]).as_dtype(MlxDtype::Float64)
    }

    /// The length of each row of weight and adapter together, where the adapter is DoRA's.
    fn norm(&self, inputs: &[Array]) -> Result<Option<Array>> {
        let [_, a, b, ..] = inputs else { return Err(three()) };
        if self.case.adapter == AdapterKind::Lora {
            return Ok(None);
        }
        let adapted = ops::add(&self.weight, ops::multiply(a.matmul(b)?, self.scale()?)?.t())?;
        adapted.square()?.sum_axes(&[1], false)?.sqrt().map(Some)
    }

    /// The layer's result before magnitude and bias: what both kinds of adapter have in common.
    fn sum(&self, inputs: &[Array]) -> Result<Array> {
        let [x, a, b, ..] = inputs else { return Err(three()) };
        ops::add(x.matmul(self.weight.t())?, ops::multiply(x.matmul(a)?.matmul(b)?, self.scale()?)?)
    }

    /// `norm` is [`Self::norm`]'s, constant for the gradients.
    fn forward(&self, inputs: &[Array], norm: Option<&Array>) -> Result<Array> {
        let mut y = self.sum(inputs)?;
        if let (Some(norm), Some(m)) = (norm, inputs.get(3)) {
            y = ops::multiply(&y, ops::divide(m, norm)?)?;
        }
        self.bias.as_ref().map_or(Ok(y.clone()), |bias| ops::add(&y, bias))
    }

    fn gradients(&self, inputs: &[Array], norm: Option<&Array>) -> Result<Vec<Array>> {
        let [x, a, b, ..] = inputs else { return Err(three()) };
        let (mut cotangent, mut of_m) = (self.cotangent.clone(), None);
        if let (Some(norm), Some(m)) = (norm, inputs.get(3)) {
            let products = ops::multiply(&self.cotangent, self.sum(inputs)?)?;
            of_m = Some(ops::divide(products.sum_axes(&[0], false)?, norm)?);
            cotangent = ops::multiply(&cotangent, ops::divide(m, norm)?)?;
        }
        let scaled = ops::multiply(&cotangent, self.scale()?)?;
        let back = scaled.matmul(b.t())?;
        let mut gradients = vec![
            ops::add(cotangent.matmul(&self.weight)?, back.matmul(a.t())?)?,
            x.t().matmul(back)?,
            x.matmul(a)?.t().matmul(scaled)?,
        ];
        gradients.extend(of_m);
        Ok(gradients)
    }
}

fn three() -> Exception {
    Exception::custom("x, lora_a and lora_b")
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
    use trial_protocol::{Challenge, Sibling};

    fn material(quantization: Option<Quantization>, adapter: AdapterKind) -> Material {
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
            adapter,
            siblings: Vec::new(),
        };
        Material::new(&Challenge::plain(case, 5)).unwrap()
    }

    #[test]
    fn unpacking_agrees_with_mlx_for_every_width_and_group() {
        for bits in [2, 3, 4, 5, 6, 8] {
            for group_size in [32, 64, 128] {
                let material = material(Some(Quantization { group_size, bits }), AdapterKind::Lora);
                let Weight::Quantized(quantized) = &material.layers[0].weight else { panic!() };
                let theirs = host::numbers(&taken(&quantized.dequantize().unwrap())).unwrap();
                let ours = weight(&material.layers[0]).unwrap();
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
    fn layers_that_share_x_have_the_sum_of_their_gradients_of_it() {
        let one = material(Some(Quantization { group_size: 32, bits: 4 }), AdapterKind::Dora);
        let sibling = Sibling { output: 64, quantization: None, bias: false };
        let case = CheckCase { siblings: vec![sibling; 2], ..one.case().clone() };
        let group = Material::new(&Challenge::plain(case, 5)).unwrap();
        let truth = Truth::of(&group).unwrap();
        assert_eq!((truth.first.len(), truth.forward.len(), truth.gradients.len()), (3, 3, 1 + 3 * 3));
        let mut sum = vec![0.0; truth.gradients[0].len()];
        for (index, layer) in group.case().layers().into_iter().enumerate() {
            // The same layer with the same inputs by itself.
            let mut alone = Material::new(&Challenge::plain(layer, 1)).unwrap();
            alone.layers = vec![group.layers[index].clone()];
            alone.cotangents = vec![group.cotangents[index].clone()];
            alone.second = group.second.clone();
            alone.second.adapters.rotate_left(3 * index);
            let alone = Truth::of(&alone).unwrap();
            assert_eq!(alone.forward[0], truth.forward[index]);
            assert_eq!(alone.gradients[1..], truth.gradients[1 + 3 * index..4 + 3 * index]);
            sum.iter_mut().zip(&alone.gradients[0]).for_each(|(sum, part)| *sum += part);
        }
        assert_eq!(sum, truth.gradients[0]);
    }

    #[test]
    fn gradients_are_slopes() {
        slopes(AdapterKind::Lora);
    }

    #[test]
    fn gradients_are_slopes_at_the_norm_of_the_moment() {
        slopes(AdapterKind::Dora);
    }

    fn slopes(adapter: AdapterKind) {
        let material = material(None, adapter);
        let truth = Truth::of(&material).unwrap();
        let weight = weight(&material.layers[0]).unwrap();
        let cotangent = host::from_bytes(&material.cotangents[0], Dtype::Float32);
        let value = |which: usize, index: usize, step: f64| {
            with_stream(&Stream::cpu(), || {
                let exact = Exact::new(&material, 0, &weight).unwrap();
                let mut inputs = exact.inputs(&material.second);
                let norm = exact.norm(&inputs).unwrap();
                let mut values = host::numbers(&inputs[which]).unwrap();
                values[index] += step;
                inputs[which] = Array::from_slice_f64(&values, inputs[which].shape());
                let result = host::numbers(&exact.forward(&inputs, norm.as_ref()).unwrap()).unwrap();
                result.iter().zip(&cotangent).map(|(y, g)| y * f64::from(*g)).sum::<f64>()
            })
        };
        for which in 0..truth.gradients.len() {
            for index in [0, 17, 30] {
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
