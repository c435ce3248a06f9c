//! An answer's bytes against the truth.

use mlx_rs::error::Result;
use mlx_rs::{Array, Dtype as MlxDtype};
use trial_protocol::{AnswerLayout, Comparison, Dtype, Of};

use crate::challenge::Material;
use crate::host;
use crate::straightforward::{Execution, execute, first_results};
use crate::truth::Truth;

/// Everything needed to judge answers to one challenge.
pub struct Judge {
    material: Material,
    truth: Truth,
    /// Allowed for each layer's first result.
    first: Vec<f64>,
    /// Allowed for each layer's result and for each gradient.
    tolerances: Vec<f64>,
}

/// The budget that evaluators use when nothing else is said. Measured over widths from 64 to 1024, all group sizes and bits,
/// and three types (`tests/budget.rs` prints it): unusual but honest kernels need up to 6 times the error of the
/// straightforward ones, and a float32 layer computed even partly in half precision takes 275 times that or more.
pub const ERROR_BUDGET: f32 = 16.0;

/// In half precision the straightforward executions include one that rounds everything, and honest kernels mostly need 1.3 times
/// its error. One that sums its groups apart needed 4.4 times in one of some hundred challenges, so half of the budget it is: what
/// is wrong and not only rough is caught in single precision, by a finer measure.
const HALF_BUDGET: f64 = 0.5;

/// No kernel of a half-precision layer may be further off than this, however badly MLX's own does.
pub const CEILING: f64 = 0.25;

impl Judge {
    /// Computes the truth, and how far the straightforward executions are from it.
    pub fn new(material: Material, error_budget: f32) -> Result<Self> {
        let truth = Truth::of(&material)?;
        let errors = own_errors(&material, &truth)?;
        let floor = floor(material.case().dtype);
        let part = if material.case().dtype == Dtype::Float32 { 1.0 } else { HALF_BUDGET };
        let budget = f64::from(error_budget) * part;
        let allowed = |error: f64| (budget * error.max(floor)).min(CEILING);
        let first = own_first_errors(&material, &truth)?.into_iter().map(allowed).collect();
        Ok(Self { material, truth, first, tolerances: errors.into_iter().map(allowed).collect() })
    }

    /// Compares an answer.
    ///
    /// # Panics
    /// If it isn't as long as the layout says.
    pub fn compare(&self, answer: &[u8]) -> Vec<Comparison> {
        let layout = AnswerLayout::of(self.material.case());
        assert_eq!(answer.len(), layout.bytes(), "an answer of another length");
        let (truth, layers) = (&self.truth, self.material.layers.len());
        let second: Vec<&Vec<u8>> = self.material.second.all().collect();
        let mut forwards: Vec<Vec<f64>> = Vec::with_capacity(layers);
        let mut comparisons = Vec::with_capacity(layout.parts.len() + layers);
        let mut rest = answer;
        for part in &layout.parts {
            let (bytes, after) = rest.split_at(part.bytes());
            rest = after;
            let values = host::from_bytes(bytes, part.dtype);
            let against =
                |truth: &[f64], tolerance| judge(&part.quantity, difference(&values, truth), tolerance, None);
            match part.of {
                Of::First(layer) => comparisons.push(against(&truth.first[layer], self.first[layer])),
                Of::Forward(layer) => {
                    comparisons.push(against(&truth.forward[layer], self.tolerances[layer]));
                    forwards.push(values.into_iter().map(f64::from).collect());
                }
                Of::Gradient(input) => {
                    comparisons.push(against(&truth.gradients[input], self.tolerances[layers + input]));
                }
                Of::Repeated(layer) => {
                    comparisons.push(against(&truth.forward[layer], self.tolerances[layer]));
                    let note = "differs from the result of the call before, on the same inputs";
                    comparisons.push(against(&forwards[layer], self.tolerances[layer]).because(note));
                }
                Of::Afterwards(input) => {
                    comparisons.push(unchanged(&part.quantity, bytes, second[input], part.dtype));
                }
            }
        }
        comparisons
    }

    /// What is allowed: for each layer's result, and for the gradients of x and the adapters' arrays.
    pub fn tolerances(&self) -> &[f64] {
        &self.tolerances
    }

    /// What the kernel is given.
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// What is compared with.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }
}

/// The straightforward executions that differ for this layer.
fn executions(material: &Material) -> impl Iterator<Item = Execution> {
    let is_single = material.dtype() == MlxDtype::Float32;
    Execution::ALL.into_iter().filter(move |execution| *execution != Execution::Narrow || !is_single)
}

/// The largest errors that a straightforward execution makes in the results for the first inputs, which are of another size.
fn own_first_errors(material: &Material, truth: &Truth) -> Result<Vec<f64>> {
    let mut worst = vec![0.0_f64; truth.first.len()];
    for execution in executions(material) {
        let results = first_results(execution, material)?;
        for ((worst, result), truth) in worst.iter_mut().zip(&results).zip(&truth.first) {
            *worst = worst.max(error(result, truth)?);
        }
    }
    Ok(worst)
}

/// Of each quantity the largest error that a straightforward execution makes.
pub fn own_errors(material: &Material, truth: &Truth) -> Result<Vec<f64>> {
    let mut worst = vec![0.0_f64; truth.forward.len() + truth.gradients.len()];
    for execution in executions(material) {
        for (worst, error) in worst.iter_mut().zip(errors(execution, material, truth)?) {
            *worst = worst.max(error);
        }
    }
    Ok(worst)
}

/// The errors of one execution: of results and gradients.
pub fn errors(execution: Execution, material: &Material, truth: &Truth) -> Result<Vec<f64>> {
    let results = execute(execution, material)?;
    let truths = truth.forward.iter().chain(&truth.gradients);
    results.iter().zip(truths).map(|(result, truth)| error(result, truth)).collect()
}

/// What isn't finite (a sum beyond float16's range) is as wrong as can be.
fn error(result: &Array, truth: &[f64]) -> Result<f64> {
    let values: Vec<f32> = host::numbers(result)?.into_iter().map(|value| value as f32).collect();
    Ok(difference(&values, truth).unwrap_or(CEILING))
}

/// Below this no error means anything: some roundings of the result itself.
fn floor(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::Float32 => 0.5_f64.powi(22),
        // The gradients of the adapter are float32, but of numbers that were rounded to half precision.
        Dtype::Float16 => 0.5_f64.powi(11),
        Dtype::Bfloat16 => 0.5_f64.powi(8),
    }
}

/// max |values − truth| / max |truth|; `None` if not all values are finite.
pub fn difference(values: &[f32], truth: &[f64]) -> Option<f64> {
    let (mut difference, mut magnitude) = (0.0_f64, 0.0_f64);
    for (&value, &truth) in values.iter().zip(truth) {
        if !value.is_finite() {
            return None;
        }
        difference = difference.max((f64::from(value) - truth).abs());
        magnitude = magnitude.max(truth.abs());
    }
    // Against nothing, or against what isn't a number itself, only a perfect match counts.
    Some(match magnitude {
        _ if difference == 0.0 => 0.0,
        magnitude if magnitude > 0.0 && magnitude.is_finite() => difference / magnitude,
        _ => f64::MAX,
    })
}

fn judge(name: &str, error: Option<f64>, tolerance: f64, note: Option<String>) -> Comparison {
    let passed = error.is_some_and(|error| error <= tolerance);
    let note = note.or_else(|| error.is_none().then(|| "not all values are finite".to_owned()));
    let narrow = |value: f64| value.min(f64::from(f32::MAX)) as f32;
    Comparison {
        quantity: name.to_owned(),
        error: error.map(narrow),
        tolerance: narrow(tolerance),
        passed,
        note,
    }
}

/// Inputs are not the kernel's to change.
fn unchanged(name: &str, bytes: &[u8], before: &[u8], dtype: Dtype) -> Comparison {
    if bytes == before {
        return judge(name, Some(0.0), 0.0, None);
    }
    let truth: Vec<f64> = host::from_bytes(before, dtype).into_iter().map(f64::from).collect();
    let error = difference(&host::from_bytes(bytes, dtype), &truth);
    let note = Some("the input isn't what it was before the call; a kernel must not write to it".to_owned());
    Comparison { passed: false, ..judge(name, error, 0.0, note) }
}

/// Words for a comparison that failed.
trait Because {
    fn because(self, note: &str) -> Self;
}

impl Because for Comparison {
    fn because(self, note: &str) -> Self {
        let note = self.note.or_else(|| (!self.passed).then(|| note.to_owned()));
        Self { note, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_relative_to_the_largest_expected_value() {
        let error = difference(&[1.0, -4.1], &[1.0, -4.0]).unwrap();
        assert!((error - 0.025).abs() < 1e-6, "{error}");
        assert_eq!(difference(&[0.0], &[0.0]), Some(0.0));
        assert!(difference(&[0.5], &[0.0]).unwrap() > 1e30, "of nothing there is no fraction");
    }

    #[test]
    fn what_is_not_finite_has_no_error() {
        assert_eq!(difference(&[f32::NAN, 2.0], &[1.0, 2.0]), None);
        assert_eq!(difference(&[1.0, f32::INFINITY], &[1.0, 2.0]), None);
        let comparison = judge("forward", None, 1.0, None);
        assert_eq!(
            (comparison.passed, comparison.note.as_deref()),
            (false, Some("not all values are finite"))
        );
    }

    #[test]
    fn an_input_that_differs_in_one_bit_was_changed() {
        let before = host::to_bytes(&[1.0, 0.0], Dtype::Float32);
        assert!(unchanged("x afterwards", &before, &before, Dtype::Float32).passed);
        let zero = host::to_bytes(&[1.0, -0.0], Dtype::Float32);
        assert!(!unchanged("x afterwards", &zero, &before, Dtype::Float32).passed);
    }
}
