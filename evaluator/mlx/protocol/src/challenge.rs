//! What a kernel is asked to compute for a check, and how its answer lies in bytes.

use serde::{Deserialize, Serialize};

use crate::{CheckCase, Dtype};

/// One layer to compute, or several that share x, on inputs that nobody could know before: all values come from the seed.
///
/// The runner builds the kernel for the layer (or the layers' kernels, and of them the group if there is one), among as many companions as the challenge says, then, with poisoned (NaN) memory recycled before each call:
/// 1. forward on a first set of inputs (x and the adapter's arrays);
/// 2. the inputs' values are changed in place, in the same buffers, to a second set; forward, and the gradients of
///    sum(cotangent * result), over all results, with respect to x and the adapters' arrays;
/// 3. forward on the second set again.
///
/// [`AnswerLayout`] says what goes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// The layer.
    pub case: CheckCase,
    /// Seed of its weights and inputs.
    pub seed: u64,
    /// Calls with gradients between 1 and 2, on the first set, that nobody compares: whoever counts calls doesn't know
    /// which one matters.
    pub idle_calls: u32,
    /// Further kernels of the same layer, made before and after this one and called in turn with it, as a model's are. What they
    /// compute isn't compared: whoever counts kernels can't tell a check from a training.
    pub companions: u32,
    /// How large the numbers are.
    pub values: Values,
}

impl Challenge {
    /// A layer by itself, with ordinary values.
    pub fn plain(case: CheckCase, seed: u64) -> Self {
        Self { case, seed, idle_calls: 0, companions: 0, values: Values::default() }
    }
}

/// How large a challenge's numbers are, as multiples of ordinary ones: x and what flows back around 1, and a `lora_b` that makes the
/// adapter's part of the result as large as the weight's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values {
    /// x of the first set.
    pub first: f32,
    /// x of the second set.
    pub second: f32,
    /// `lora_b` of the second set. Training begins with a small one.
    pub lora_b: f32,
    /// What flows back. In a training it is small.
    pub cotangent: f32,
    /// Whether x of the first set has a row of zeros, as padding is, and single numbers far beyond the others, as language models have.
    pub uneven: bool,
}

impl Default for Values {
    fn default() -> Self {
        Self { first: 1.0, second: 1.0, lora_b: 1.0, cotangent: 1.0, uneven: false }
    }
}

/// The arrays in the answer to a [`Challenge`], end to end, row-major and little-endian: results of call 1; results of call 2; gradients
/// of x and each of the adapters' arrays; results of call 3; then x and those arrays as they are after the calls. Where layers share x,
/// what is of each of them comes in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerLayout {
    /// One for each array.
    pub parts: Vec<Part>,
}

/// One array of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// In words, such as `grad lora_a`, or `grad lora_a of layer 2` where layers share x.
    pub quantity: String,
    /// What it is.
    pub of: Of,
    /// Length of each dimension.
    pub shape: Vec<i32>,
    /// Type of its elements.
    pub dtype: Dtype,
}

/// What an array of an answer is of. Results are counted by layer; inputs are x, then each layer's adapter in the order of
/// [`AdapterKind::arrays`](crate::AdapterKind::arrays).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Result of call 1.
    First(usize),
    /// Result of call 2.
    Forward(usize),
    /// Gradient of an input in call 2.
    Gradient(usize),
    /// Result of call 3.
    Repeated(usize),
    /// An input after the calls.
    Afterwards(usize),
}

impl AnswerLayout {
    /// The layout of a case's answer.
    pub fn of(case: &CheckCase) -> Self {
        let layers = case.layers();
        let name = |word: &str, layer: usize| match layers.len() {
            1 => word.to_owned(),
            _ => format!("{word} of layer {}", layer + 1),
        };
        let results = |word: &'static str, of: fn(usize) -> Of| {
            layers.iter().enumerate().map(move |(index, layer)| Part {
                quantity: name(word, index),
                of: of(index),
                shape: vec![case.batch, case.length, layer.output],
                dtype: case.dtype,
            })
        };
        let inputs = |words: fn(&str) -> String, of: fn(usize) -> Of| {
            let mut parts = vec![Part {
                quantity: words("x"),
                of: of(0),
                shape: vec![case.batch, case.length, case.input],
                dtype: case.dtype,
            }];
            for (index, layer) in layers.iter().enumerate() {
                let shapes = case.adapter.shapes(case.input, layer.output, case.rank);
                for (word, shape) in case.adapter.arrays().iter().zip(shapes) {
                    let quantity = name(&words(word), index);
                    parts.push(Part { quantity, of: of(parts.len()), shape, dtype: Dtype::Float32 });
                }
            }
            parts
        };
        let mut parts: Vec<Part> =
            results("first forward", Of::First).chain(results("forward", Of::Forward)).collect();
        parts.extend(inputs(|word| format!("grad {word}"), Of::Gradient));
        parts.extend(results("repeated forward", Of::Repeated));
        parts.extend(inputs(|word| format!("{word} afterwards"), Of::Afterwards));
        Self { parts }
    }

    /// Bytes of the whole answer.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }
}

impl Part {
    /// Its length in bytes.
    pub fn bytes(&self) -> usize {
        self.shape.iter().map(|&length| length as usize).product::<usize>() * self.dtype.bytes()
    }
}
