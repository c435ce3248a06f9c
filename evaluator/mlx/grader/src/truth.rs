//! What a layer means: the weight as a whole, in float64, by the textbook.

use kernel_api::{Layer, Weight, host as api};
use mlx_rs::Array;
use mlx_rs::error::{Exception, Result};
use trial_protocol::{AdapterKind, CheckCase, Dtype, Quantization};

use crate::challenge::{Inputs, Material};
use crate::host;
use crate::matrix::{Matrix, product};

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
    /// Computes it by Rust's own arithmetic, whatever MLX's device is.
    pub fn of(material: &Material) -> Result<Self> {
        let mut truth = Self { first: Vec::new(), forward: Vec::new(), gradients: Vec::new() };
        for index in 0..material.layers.len() {
            let exact = Exact::new(material, index)?;
            let first = exact.inputs(&material.first);
            truth.first.push(exact.finish(&first, exact.sum(&first), exact.norm(&first).as_deref()));
            let second = exact.inputs(&material.second);
            let (sum, norm) = (exact.sum(&second), exact.norm(&second));
            truth.add(exact.gradients(&second, &sum, norm.as_deref()));
            truth.forward.push(exact.finish(&second, sum, norm.as_deref()));
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
    weight: Matrix,
    bias: Option<Vec<f64>>,
    /// `[batch * length, output]`.
    cotangent: Matrix,
}

/// x and the layer's own adapter.
#[derive(Clone)]
struct Values {
    /// `[batch * length, input]`.
    x: Matrix,
    /// `[input, rank]`.
    a: Matrix,
    /// `[rank, output]`.
    b: Matrix,
    /// Of each output, where the adapter is DoRA's.
    m: Option<Vec<f64>>,
}

impl Exact {
    fn new(material: &Material, index: usize) -> Result<Self> {
        let case = material.case().layers().swap_remove(index);
        let layer = &material.layers[index];
        let (rows, input, output) = (rows(&case), case.input as usize, case.output as usize);
        Ok(Self {
            index,
            weight: Matrix::new(output, input, weight(layer)?),
            bias: layer.bias.as_ref().map(|bias| host::numbers(&taken(bias))).transpose()?,
            cotangent: Matrix::new(rows, output, wide(&material.cotangents[index], case.dtype)),
            case,
        })
    }

    fn inputs(&self, inputs: &Inputs) -> Values {
        let CheckCase { input, output, rank, dtype, adapter, .. } = self.case;
        let [input, output, rank] = [input, output, rank].map(|length| length as usize);
        let own = |array: usize| {
            wide(&inputs.adapters[self.index * adapter.arrays().len() + array], Dtype::Float32)
        };
        Values {
            x: Matrix::new(rows(&self.case), input, wide(&inputs.x, dtype)),
            a: Matrix::new(input, rank, own(0)),
            b: Matrix::new(rank, output, own(1)),
            m: (adapter == AdapterKind::Dora).then(|| own(2)),
        }
    }

    fn scale(&self) -> f64 {
        f64::from(self.case.scale)
    }

    /// The length of each row of weight and adapter together, where the adapter is DoRA's.
    fn norm(&self, values: &Values) -> Option<Vec<f64>> {
        values.m.as_ref()?;
        let adapted = product(self.scale(), values.b.t(), values.a.t(), Some(self.weight.clone()));
        Some(adapted.rows().map(|row| row.iter().map(|value| value * value).sum::<f64>().sqrt()).collect())
    }

    /// The layer's result before magnitude and bias: what both kinds of adapter have in common.
    fn sum(&self, values: &Values) -> Matrix {
        let Values { x, a, b, .. } = values;
        let frozen = product(1.0, x.view(), self.weight.t(), None);
        product(self.scale(), product(1.0, x.view(), a.view(), None).view(), b.view(), Some(frozen))
    }

    /// The layer's result; `norm` is [`Self::norm`]'s, constant for the gradients.
    fn finish(&self, values: &Values, mut sum: Matrix, norm: Option<&[f64]>) -> Vec<f64> {
        if let Some(factor) = factor(values, norm) {
            sum = sum.by_column(&factor, |value, factor| value * factor);
        }
        match &self.bias {
            Some(bias) => sum.by_column(bias, |value, bias| value + bias).values,
            None => sum.values,
        }
    }

    /// Of x and the adapter's arrays.
    fn gradients(&self, values: &Values, sum: &Matrix, norm: Option<&[f64]>) -> Vec<Vec<f64>> {
        let Values { x, a, b, .. } = values;
        let mut cotangent = self.cotangent.clone();
        let of_m = norm.map(|norm| {
            let mut of_m = vec![0.0; norm.len()];
            for (cotangent, sum) in cotangent.rows().zip(sum.rows()) {
                for (of_m, (cotangent, sum)) in of_m.iter_mut().zip(cotangent.iter().zip(sum)) {
                    *of_m += cotangent * sum;
                }
            }
            of_m.iter().zip(norm).map(|(of_m, norm)| of_m / norm).collect()
        });
        if let Some(factor) = factor(values, norm) {
            cotangent = cotangent.by_column(&factor, |value, factor| value * factor);
        }
        let back = product(self.scale(), cotangent.view(), b.t(), None);
        let of_x = product(1.0, cotangent.view(), self.weight.view(), None);
        let of_x = product(1.0, back.view(), a.t(), Some(of_x));
        let of_a = product(1.0, x.t(), back.view(), None);
        let of_b = product(self.scale(), product(1.0, x.view(), a.view(), None).t(), cotangent.view(), None);
        [of_x.values, of_a.values, of_b.values].into_iter().chain(of_m).collect()
    }
}

/// What DoRA multiplies each output with.
fn factor(values: &Values, norm: Option<&[f64]>) -> Option<Vec<f64>> {
    Some(values.m.as_ref()?.iter().zip(norm?).map(|(m, norm)| m / norm).collect())
}

fn rows(case: &CheckCase) -> usize {
    (case.batch * case.length) as usize
}

fn wide(bytes: &[u8], dtype: Dtype) -> Vec<f64> {
    host::from_bytes(bytes, dtype).into_iter().map(f64::from).collect()
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
        let cotangent = host::from_bytes(&material.cotangents[0], Dtype::Float32);
        let exact = Exact::new(&material, 0).unwrap();
        let inputs = exact.inputs(&material.second);
        let norm = exact.norm(&inputs);
        let value = |which: usize, index: usize, step: f64| {
            let mut inputs = inputs.clone();
            let Values { x, a, b, m } = &mut inputs;
            let changed = match which {
                0 => &mut x.values,
                1 => &mut a.values,
                2 => &mut b.values,
                _ => m.as_mut().unwrap(),
            };
            changed[index] += step;
            let result = exact.finish(&inputs, exact.sum(&inputs), norm.as_deref());
            result.iter().zip(&cotangent).map(|(y, g)| y * f64::from(*g)).sum::<f64>()
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
