//! What a seed stands for: the layers' weights, two sets of inputs, and what flows back.

use kernel_api::host::{self as api, Together};
use kernel_api::{Adapter, Kernel, Layer, QuantizedWeight, Weight};
use mlx_rs::error::{Exception, Result};
use mlx_rs::transforms::{eval, fallible_vjp};
use mlx_rs::{Array, Dtype as MlxDtype, ops};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trial_protocol::{AdapterKind, AnswerLayout, Challenge, CheckCase, Dtype, MAX_RAW, Of, Quantization};

use crate::host;

/// A layer, or several that share x, and the inputs.
pub struct Material {
    /// For the kernels: evaluated arrays.
    pub layers: Vec<Layer>,
    /// Of calls 1.
    pub first: Inputs,
    /// Of calls 2 and 3.
    pub second: Inputs,
    /// What flows back into each layer's result, `[batch, length, output]`, of the layer's type.
    pub cotangents: Vec<Vec<u8>>,
    case: CheckCase,
}

/// One set of inputs, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// `[batch, length, input]`, of the layer's type.
    pub x: Vec<u8>,
    /// Of each layer in turn, each of [`AdapterKind::arrays`], float32.
    pub adapters: Vec<Vec<u8>>,
}

impl Inputs {
    /// x, then the adapters' arrays.
    pub fn all(&self) -> impl Iterator<Item = &Vec<u8>> {
        std::iter::once(&self.x).chain(&self.adapters)
    }
}

impl Material {
    /// Makes everything. The numbers come from Rust's own generator and arithmetic, so that two processes get the same
    /// bits whatever MLX's device is; only the quantization is MLX's, the same in both.
    ///
    /// Both parts of the sum, weight and adapter, come out of the same size, so that an error in one isn't hidden by the
    /// other.
    pub fn new(challenge: &Challenge) -> Result<Self> {
        let case = &challenge.case;
        check(case).map_err(Exception::custom)?;
        let mut random = Numbers { source: ChaCha8Rng::seed_from_u64(challenge.seed), spare: None };
        let spread = (1.0 / case.input as f32).sqrt();
        let singles = case.layers();
        let mut layers = Vec::with_capacity(singles.len());
        for case in &singles {
            let weight = random.normals(&[case.output, case.input], spread);
            let bias = case.bias.then(|| random.normals(&[case.output], 1.0));
            layers.push(layer(case, &weight, bias.as_deref())?);
        }
        let values = &challenge.values;
        let first = random.inputs(&singles, spread, values.first, 1.0, values.uneven);
        let second = random.inputs(&singles, spread, values.second, values.lora_b, false);
        let mut cotangent = |case: &CheckCase| {
            let numbers = random.normals(&[case.batch, case.length, case.output], values.cotangent);
            host::to_bytes(&numbers, case.dtype)
        };
        let cotangents = singles.iter().map(&mut cotangent).collect();
        Ok(Self { layers, first, second, cotangents, case: case.clone() })
    }

    /// One set of inputs as fresh arrays: x, then the adapters'.
    pub fn arrays(&self, inputs: &Inputs) -> Vec<Array> {
        let parts = AnswerLayout::of(&self.case).parts.into_iter();
        let shapes = parts.filter(|part| matches!(part.of, Of::Gradient(_)));
        let array = |(bytes, part): (&Vec<u8>, trial_protocol::Part)| {
            host::array(bytes, &part.shape, host::mlx_dtype(part.dtype))
        };
        inputs.all().zip(shapes).map(array).collect()
    }

    /// The cotangents as arrays.
    pub fn cotangents(&self) -> Vec<Array> {
        let CheckCase { batch, length, .. } = self.case;
        let shapes = self.layers.iter().map(|layer| [batch, length, layer.output]);
        self.cotangents
            .iter()
            .zip(shapes)
            .map(|(bytes, shape)| host::array(bytes, &shape, self.dtype()))
            .collect()
    }

    /// What computes the layers, of kernels made by `build`.
    pub fn together(
        &self,
        build: impl Fn(&Layer) -> kernel_api::Result<Box<dyn Kernel>>,
    ) -> kernel_api::Result<Together> {
        let kernels = self.layers.iter().map(build).collect::<kernel_api::Result<_>>()?;
        Together::new(kernels, &self.layers)
    }

    /// The layer's type in MLX's terms.
    pub fn dtype(&self) -> MlxDtype {
        host::mlx_dtype(self.case.dtype)
    }

    /// The case that this was made for.
    pub fn case(&self) -> &CheckCase {
        &self.case
    }
}

/// Each layer's result for x and the adapters' arrays; it fails if shape or type are not as they must be.
pub fn forward(kernels: &Together, inputs: &[Array], layers: &[Layer]) -> Result<Vec<Array>> {
    let Some((x, arrays)) = inputs.split_first().filter(|(_, arrays)| arrays.len() % layers.len() == 0)
    else {
        return Err(Exception::custom("kernels take x and an adapter for each layer"));
    };
    let adapters: Vec<Adapter> =
        arrays.chunks(arrays.len() / layers.len()).map(adapter).collect::<Result<_>>()?;
    let results = kernels
        .forward(&api::wrap(x.clone()), &adapters)
        .map_err(|error| Exception::custom(error.to_string()))?;
    let results = results.into_iter().zip(layers).enumerate().map(|(index, (result, layer))| {
        #[expect(unsafe_code, reason = "this is the host")]
        // SAFETY: as its documentation says, there is nothing to break.
        let result = unsafe { api::into_mlx(result) };
        let mut shape = x.shape().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = layer.output;
        }
        let what = if layers.len() == 1 { "the result".into() } else { format!("result {}", index + 1) };
        expect(&result, &shape, x.dtype(), &what).map(|()| result)
    });
    results.collect()
}

fn adapter(arrays: &[Array]) -> Result<Adapter> {
    let [lora_a, lora_b, m @ ..] = arrays else {
        return Err(Exception::custom("an adapter has lora_a and lora_b, and DoRA's m"));
    };
    let [lora_a, lora_b] = [lora_a, lora_b].map(|array| api::wrap(array.clone()));
    Ok(Adapter { lora_a, lora_b, m: m.first().cloned().map(api::wrap) })
}

/// The layers' results, and the gradients of `sum(cotangent * result)`, over all of them, with respect to x and the adapters'
/// arrays.
pub fn gradients(
    kernels: &Together,
    inputs: &[Array],
    layers: &[Layer],
    cotangents: &[Array],
) -> Result<(Vec<Array>, Vec<Array>)> {
    let function = |inputs: &[Array]| forward(kernels, inputs, layers);
    let (results, gradients) = fallible_vjp(function, inputs, cotangents)?;
    if (results.len(), gradients.len()) != (layers.len(), inputs.len()) {
        return Err(Exception::custom("not a result for each layer and a gradient for each input"));
    }
    let names = AdapterKind::Dora.arrays().iter().take((inputs.len() - 1) / layers.len());
    for ((gradient, input), name) in
        gradients.iter().zip(inputs).zip(std::iter::once(&"x").chain(names.cycle()))
    {
        expect(gradient, input.shape(), input.dtype(), &format!("the gradient of {name}"))?;
    }
    eval(results.iter().chain(&gradients))?;
    Ok((results, gradients))
}

fn expect(array: &Array, shape: &[i32], dtype: MlxDtype, what: &str) -> Result<()> {
    if array.shape() != shape {
        return Err(Exception::custom(format!("{what} has shape {:?}, must be {shape:?}", array.shape())));
    }
    if array.dtype() != dtype {
        return Err(Exception::custom(format!("{what} has type {:?}, must be {dtype:?}", array.dtype())));
    }
    Ok(())
}

/// A case in words.
pub fn describe(case: &CheckCase) -> String {
    let weight = match case.quantization {
        Some(quantization) => format!("{} bits, groups of {}", quantization.bits, quantization.group_size),
        None => "not quantized".into(),
    };
    let bias = if case.bias { ", bias" } else { "" };
    let adapter = if case.adapter.is_lora() { "" } else { ", DoRA" };
    let outputs = case.layers().iter().map(|layer| layer.output.to_string()).collect::<Vec<_>>().join("+");
    format!("{}×{outputs}, {weight}{bias}, {:?}{adapter}", case.input, case.dtype)
}

/// How many times larger than the others the few large numbers of an uneven x are.
const SPIKE: f32 = 64.0;
/// One in so many.
const SPIKES: usize = 256;
/// Layers that share another's x.
const MOST_SIBLINGS: usize = 7;

/// Whether a case can be made at all.
pub fn check(case: &CheckCase) -> std::result::Result<(), String> {
    if case.siblings.len() > MOST_SIBLINGS {
        return Err(format!("a case has at most {MOST_SIBLINGS} siblings: {case:?}"));
    }
    let limit = u64::from(MAX_RAW) / 4;
    for case in case.layers() {
        let lengths = [case.batch, case.length, case.input, case.output, case.rank];
        if lengths.iter().any(|&length| length < 1) {
            return Err(format!("a case has lengths of at least 1: {case:?}"));
        }
        let product =
            |lengths: &[i32]| lengths.iter().fold(1_u64, |size, &length| size.saturating_mul(length as u64));
        let largest = [
            product(&[case.batch, case.length, case.input.max(case.output).max(case.rank)]),
            product(&[case.input, case.output.max(case.rank)]),
            product(&[case.rank, case.output]),
        ];
        if largest.iter().any(|&size| size > limit) {
            return Err(format!("a case is too large: {case:?}"));
        }
    }
    if AnswerLayout::of(case).bytes() as u64 > u64::from(MAX_RAW) {
        return Err(format!("a case is too large: {case:?}"));
    }
    if !case.scale.is_finite() {
        return Err(format!("a case's scale is {}", case.scale));
    }
    Ok(())
}

fn layer(case: &CheckCase, weight: &[f32], bias: Option<&[f32]>) -> Result<Layer> {
    let dtype = host::mlx_dtype(case.dtype);
    let array =
        |values: &[f32], shape: &[i32]| host::array(&host::to_bytes(values, case.dtype), shape, dtype);
    let weight = array(weight, &[case.output, case.input]);
    let weight = match case.quantization {
        Some(Quantization { group_size, bits }) => {
            let (packed, scales, biases) = ops::quantize(&weight, group_size, bits)?;
            // A model's weights are there before a kernel is. (Left to be computed, a kernel's compiled function would
            // take the quantization in, and round it in its own way.)
            eval([&packed, &scales, &biases])?;
            let [packed, scales, biases] = [packed, scales, biases].map(api::wrap);
            Weight::Quantized(QuantizedWeight { packed, scales, biases, group_size, bits })
        }
        None => Weight::Plain(api::wrap(weight)),
    };
    Ok(Layer {
        weight,
        bias: bias.map(|bias| api::wrap(array(bias, &[case.output]))),
        scale: case.scale,
        rank: case.rank,
        input: case.input,
        output: case.output,
        dtype: dtype.into(),
        adapter: trainer::lora::host_kind(case.adapter),
    })
}

/// Random numbers.
struct Numbers {
    source: ChaCha8Rng,
    /// Normal numbers come in pairs.
    spare: Option<f32>,
}

impl Numbers {
    fn normals(&mut self, shape: &[i32], deviation: f32) -> Vec<f32> {
        let size = shape.iter().map(|&length| length as usize).product();
        (0..size).map(|_| deviation * self.normal()).collect()
    }

    /// By Box and Muller.
    fn normal(&mut self) -> f32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (u, v) = (1.0 - self.source.random::<f64>(), self.source.random::<f64>());
        let (sine, cosine) = (std::f64::consts::TAU * v).sin_cos();
        let radius = (-2.0 * u.ln()).sqrt();
        self.spare = Some((radius * sine) as f32);
        (radius * cosine) as f32
    }

    /// x of that size; for each layer `lora_a` as MLX-LM begins it, and a `lora_b` that makes the adapter's part so many times as large
    /// as the weight's; then DoRA's magnitudes.
    fn inputs(&mut self, layers: &[CheckCase], spread: f32, size: f32, part: f32, uneven: bool) -> Inputs {
        let mut inputs = Inputs { x: Vec::new(), adapters: Vec::new() };
        for (index, case) in layers.iter().enumerate() {
            if index == 0 {
                let mut x = self.normals(&[case.batch, case.length, case.input], size);
                if uneven {
                    self.make_uneven(&mut x, case.input as usize);
                }
                inputs.x = host::to_bytes(&x, case.dtype);
            }
            let lora_a: Vec<f32> =
                (0..case.input * case.rank).map(|_| self.source.random_range(-spread..spread)).collect();
            let factor = if case.scale == 0.0 { 1.0 } else { case.scale.abs() };
            let lora_b =
                self.normals(&[case.rank, case.output], part * (3.0 / case.rank as f32).sqrt() / factor);
            let mut adapter = vec![lora_a, lora_b];
            if case.adapter == AdapterKind::Dora {
                adapter.push(self.magnitudes(case.output));
            }
            inputs.adapters.extend(adapter.iter().map(|array| host::to_bytes(array, Dtype::Float32)));
        }
        inputs
    }

    /// Of the order of the rows' lengths, but unlike them; nothing keeps a training from turning a sign, or from an output of nothing.
    fn magnitudes(&mut self, output: i32) -> Vec<f32> {
        let mut one = || {
            let size = self.source.random_range(0.25_f32..2.0);
            match self.source.random_range(0..32) {
                0 => 0.0,
                1..4 => -size,
                _ => size,
            }
        };
        (0..output).map(|_| one()).collect()
    }

    /// Puts in a row of zeros, if there are others, and single large numbers.
    fn make_uneven(&mut self, x: &mut [f32], width: usize) {
        for piece in x.chunks_mut(SPIKES) {
            let place = self.source.random_range(0..piece.len());
            piece[place] *= SPIKE;
        }
        let rows = x.len() / width;
        if rows > 1 {
            let row = self.source.random_range(0..rows);
            x[row * width..(row + 1) * width].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trial_protocol::Values;

    fn material(values: Values) -> Material {
        let case = CheckCase {
            batch: 2,
            length: 5,
            input: 512,
            output: 32,
            rank: 4,
            scale: 2.0,
            quantization: None,
            bias: false,
            dtype: Dtype::Float32,
            adapter: AdapterKind::Lora,
            siblings: Vec::new(),
        };
        Material::new(&Challenge { values, ..Challenge::plain(case, 5) }).unwrap()
    }

    fn largest(bytes: &[u8]) -> f32 {
        host::from_bytes(bytes, Dtype::Float32).iter().fold(0.0, |most, value| most.max(value.abs()))
    }

    #[test]
    fn values_are_as_large_as_the_challenge_says() {
        let plain = material(Values::default());
        let values = Values { first: 1024.0, second: 0.5, lora_b: 0.125, cotangent: 0.25, uneven: false };
        let sized = material(values);
        let ratio = |part: fn(&Material) -> &[u8]| largest(part(&sized)) / largest(part(&plain));
        let ratios = [
            ratio(|material| &material.first.x),
            ratio(|material| &material.second.x),
            ratio(|material| &material.first.adapters[1]),
            ratio(|material| &material.second.adapters[1]),
            ratio(|material| &material.cotangents[0]),
        ];
        for (ratio, expected) in ratios.into_iter().zip([1024.0, 0.5, 1.0, 0.125, 0.25]) {
            assert!((ratio / expected - 1.0).abs() < 1e-6, "{ratios:?}");
        }
    }

    #[test]
    fn an_uneven_x_has_a_row_of_zeros_and_large_numbers_in_the_others() {
        let uneven = material(Values { uneven: true, ..Values::default() });
        let x = host::from_bytes(&uneven.first.x, Dtype::Float32);
        let rows: Vec<&[f32]> = x.chunks(512).collect();
        assert_eq!(rows.iter().filter(|row| row.iter().all(|value| *value == 0.0)).count(), 1);
        let large = x.iter().filter(|value| value.abs() > 6.0).count();
        assert!((10..=18).contains(&large), "{large}");
        assert!(largest(&uneven.second.x) < 6.0);
    }
}
