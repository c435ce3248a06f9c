//! A kernel's numbers against the reference's: forward, and gradients of everything that has one.

use kernel_api::{Adapter, Kernel, host};
use mlx_rs::error::Exception;
use mlx_rs::transforms::{eval, fallible_vjp};
use mlx_rs::{Array, Dtype, ops, random};
use trial_protocol::{CheckCase, CheckReport, CheckRequest, Comparison};

use crate::reference::Example;
use crate::{Stop, kernel, plugin, setup};

/// In the order of what is computed: the result, then one gradient for each input.
const QUANTITIES: [&str; 4] = ["forward", "grad x", "grad lora_a", "grad lora_b"];

/// Compares on all cases.
pub(crate) fn run(request: &CheckRequest) -> Result<CheckReport, Stop> {
    let build = plugin::load(&request.plugin.path).map_err(kernel)?;
    let mut comparisons = Vec::with_capacity(QUANTITIES.len() * request.cases.len());
    for (index, case) in request.cases.iter().enumerate() {
        let number = index as u32;
        let key = random::key(request.seed.wrapping_add(u64::from(number))).map_err(setup)?;
        let example = Example::new(case, &key)
            .map_err(|error| setup(format!("check case {number}: {}", error.what())))?;
        let blame = |error: &dyn std::fmt::Display| {
            let detail = host::take_failure().map(|detail| format!(": {detail}")).unwrap_or_default();
            kernel(format!("check case {number} ({}): {error}{detail}", describe(case)))
        };
        let candidate = build(&example.layer).map_err(|error| blame(&error))?;
        let actual = compute(&example, |inputs| forward(candidate.as_ref(), inputs))
            .map_err(|error| blame(&error.what()))?;
        let expected = expected(&example).map_err(|error| setup(error.what()))?;
        for ((quantity, actual), expected) in QUANTITIES.into_iter().zip(&actual).zip(&expected) {
            let judged = compare(actual, expected).map_err(|error| blame(&error.what()))?;
            let tolerance = tolerance(request.tolerance, case);
            let (error, note) = match judged {
                Ok(error) => (Some(error), None),
                Err(note) => (None, Some(note)),
            };
            let passed = error.is_some_and(|error| error <= tolerance);
            comparisons.push(Comparison {
                case: number,
                quantity: quantity.into(),
                error,
                tolerance,
                passed,
                note,
            });
        }
    }
    Ok(CheckReport { kernel: request.plugin.kernel.clone(), comparisons })
}

/// Result and gradients by `forward`, after it was called once with other inputs.
fn compute(
    example: &Example,
    forward: impl Fn(&[Array]) -> Result<Vec<Array>, Exception>,
) -> Result<Vec<Array>, Exception> {
    eval(&forward(&example.decoys)?)?;
    let mut results = forward(&example.inputs)?;
    eval(&results)?;
    let cotangent = example.cotangent.as_dtype(results.first().map_or(Dtype::Float32, Array::dtype))?;
    if results.first().is_some_and(|result| result.shape() == cotangent.shape()) {
        let (again, gradients) = fallible_vjp(forward, &example.inputs, &[cotangent])?;
        eval(again.iter().chain(&gradients))?;
        results.extend(gradients);
    } else {
        // Without a result of the right shape there are no gradients; the comparison says so.
        results.extend(std::iter::repeat_n(Array::from_f32(f32::NAN), 3));
    }
    Ok(results)
}

/// The reference's result and gradients, rounded like the inputs and outputs of the kernel under test.
fn expected(example: &Example) -> Result<Vec<Array>, Exception> {
    let wide = |array: &Array| array.as_dtype(Dtype::Float32);
    let inputs = [wide(&example.inputs[0])?, wide(&example.inputs[1])?, wide(&example.inputs[2])?];
    let (mut results, gradients) =
        fallible_vjp(|inputs| Ok(vec![example.forward(inputs)?]), &inputs, &[wide(&example.cotangent)?])?;
    results.extend(gradients);
    let types = [example.inputs[0].dtype(), example.inputs[0].dtype(), Dtype::Float32, Dtype::Float32];
    let results: Vec<Array> =
        results.iter().zip(types).map(|(result, dtype)| result.as_dtype(dtype)).collect::<Result<_, _>>()?;
    eval(&results)?;
    Ok(results)
}

fn forward(kernel: &dyn Kernel, inputs: &[Array]) -> Result<Vec<Array>, Exception> {
    let [x, lora_a, lora_b] = inputs else {
        return Err(Exception::custom("a kernel takes x, lora_a and lora_b"));
    };
    let adapter = Adapter { lora_a: host::wrap(lora_a.clone()), lora_b: host::wrap(lora_b.clone()) };
    let result = kernel
        .forward(&host::wrap(x.clone()), &adapter)
        .map_err(|error| Exception::custom(error.to_string()))?;
    #[expect(unsafe_code, reason = "this is the host")]
    // SAFETY: as its documentation says, there is nothing to break.
    let result = unsafe { host::into_mlx(result) };
    Ok(vec![result])
}

/// max |actual − expected| / max |expected|, or why there is no such number.
fn compare(actual: &Array, expected: &Array) -> Result<Result<f32, String>, Exception> {
    if actual.shape() != expected.shape() {
        return Ok(Err(format!("shape {:?}, must be {:?}", actual.shape(), expected.shape())));
    }
    if actual.dtype() != expected.dtype() {
        return Ok(Err(format!("type {:?}, must be {:?}", actual.dtype(), expected.dtype())));
    }
    let (actual, expected) = (actual.as_dtype(Dtype::Float32)?, expected.as_dtype(Dtype::Float32)?);
    let largest = |array: Array| {
        array.abs()?.max(None)?.try_item_exact::<f32>().map_err(|error| Exception::custom(error.to_string()))
    };
    let difference = largest(ops::subtract(&actual, &expected)?)?;
    let magnitude = largest(expected)?;
    // MLX's maximum passes NaN on, and an infinity stays one.
    if !difference.is_finite() {
        return Ok(Err("not all values are finite".into()));
    }
    Ok(Ok(if magnitude > 0.0 { difference / magnitude } else { difference }))
}

/// What a case's error may be. In half precision MLX's own `quantized_matmul` on the CPU rounds every partial sum to 11 or
/// 8 bits, so that errors add up like a random walk over the inputs: it comes to half of what is allowed here.
fn tolerance(float32: f32, case: &CheckCase) -> f32 {
    let steps = 8.0 + (case.input as f32).sqrt() / 2.0;
    match case.dtype {
        trial_protocol::Dtype::Float32 => float32,
        trial_protocol::Dtype::Float16 => float32.max(steps * 0.5_f32.powi(11)),
        trial_protocol::Dtype::Bfloat16 => float32.max(steps * 0.5_f32.powi(8)),
    }
}

fn describe(case: &CheckCase) -> String {
    let weight = match case.quantization {
        Some(quantization) => format!("{} bits, groups of {}", quantization.bits, quantization.group_size),
        None => "not quantized".into(),
    };
    let bias = if case.bias { ", bias" } else { "" };
    format!("{}×{}, {weight}{bias}, {:?}", case.input, case.output, case.dtype)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(values: &[f32]) -> Array {
        Array::from_slice(values, &[values.len() as i32])
    }

    #[test]
    fn the_error_is_relative_to_the_largest_expected_value() {
        let error = compare(&array(&[1.0, -4.1]), &array(&[1.0, -4.0])).unwrap().unwrap();
        assert!((error - 0.025).abs() < 1e-6, "{error}");
        assert_eq!(compare(&array(&[0.5]), &array(&[0.0])).unwrap(), Ok(0.5));
    }

    #[test]
    fn what_cant_be_compared_is_said() {
        let expected = array(&[1.0, 2.0]);
        let note = |actual: &Array| compare(actual, &expected).unwrap().unwrap_err();
        assert_eq!(note(&array(&[1.0])), "shape [1], must be [2]");
        assert_eq!(note(&array(&[f32::NAN, 2.0])), "not all values are finite");
        assert_eq!(note(&array(&[1.0, f32::INFINITY])), "not all values are finite");
        assert_eq!(note(&expected.as_dtype(Dtype::Float16).unwrap()), "type Float16, must be Float32");
    }

    #[test]
    fn half_precision_is_judged_by_its_own_rounding() {
        use trial_protocol::Dtype::{Bfloat16, Float16, Float32};
        let allowed = |float32, dtype| {
            let (batch, length, input, output) = (1, 1, 64, 64);
            let case = CheckCase {
                batch,
                length,
                input,
                output,
                rank: 1,
                scale: 1.0,
                quantization: None,
                bias: false,
                dtype,
            };
            tolerance(float32, &case)
        };
        assert!(allowed(1e-4, Float32) < allowed(1e-4, Float16));
        assert!(allowed(1e-4, Float16) < allowed(1e-4, Bfloat16));
        assert!(allowed(0.5, Bfloat16) >= 0.5, "never stricter than asked for");
    }
}
