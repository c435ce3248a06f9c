//! A frozen linear layer, quantized or plain, with or without an adapter.

use std::cell::{Cell, RefCell};

use kernel_api::{Adapter, Kernel, host};
use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, Dtype, ops};
use trial_protocol::{AdapterKind, Quantization};

use crate::qwen2::plain_rows;

/// A frozen `[output, input]` matrix.
#[derive(Debug, Clone)]
pub(crate) enum Weight {
    /// MLX's affine quantization.
    Quantized { packed: Array, scales: Array, biases: Array, group_size: i32, bits: i32 },
    /// As it is.
    Plain(Array),
}

impl Weight {
    pub(crate) fn is_quantized(&self) -> bool {
        matches!(self, Self::Quantized { .. })
    }

    pub(crate) fn quantization(&self) -> Option<Quantization> {
        match self {
            Self::Quantized { group_size, bits, .. } => {
                Some(Quantization { group_size: *group_size, bits: *bits })
            }
            Self::Plain(_) => None,
        }
    }

    /// `x · weightᵀ + bias`, as MLX's own linear layers compute it.
    pub(crate) fn apply(&self, x: &Array, bias: Option<&Array>) -> Result<Array> {
        match (self, bias) {
            (Self::Quantized { packed, scales, biases, group_size, bits }, bias) => {
                let product = ops::quantized_matmul(x, packed, scales, biases, true, *group_size, *bits)?;
                bias.map_or(Ok(product.clone()), |bias| product.add(bias))
            }
            (Self::Plain(weight), None) => x.matmul(weight.t()),
            (Self::Plain(weight), Some(bias)) => ops::addmm(bias, x, weight.t(), None, None),
        }
    }

    /// The rows `ids`, unpacked: an embedding look-up.
    pub(crate) fn rows(&self, ids: &Array) -> Result<Array> {
        match self {
            Self::Quantized { packed, scales, biases, group_size, bits } => {
                let biases = plain_rows(biases, ids)?;
                ops::dequantize(
                    plain_rows(packed, ids)?,
                    plain_rows(scales, ids)?,
                    &biases,
                    *group_size,
                    *bits,
                )
            }
            Self::Plain(weight) => plain_rows(weight, ids),
        }
    }

    /// The length of each row, float32, as MLX-LM's DoRA begins: of the weight unpacked.
    pub(crate) fn row_norms(&self) -> Result<Array> {
        let whole = match self {
            Self::Quantized { packed, scales, biases, group_size, bits } => {
                ops::dequantize(packed, scales, biases, *group_size, *bits)?
            }
            Self::Plain(weight) => weight.clone(),
        };
        let norms = whole.as_dtype(Dtype::Float32)?.square()?.sum_axes(&[1], false)?.sqrt()?;
        // Now, so that no unpacked weight outlives this call.
        norms.eval()?;
        Ok(norms)
    }

    /// Type of what the layer computes.
    pub(crate) fn dtype(&self) -> Dtype {
        match self {
            Self::Quantized { scales, .. } => scales.dtype(),
            Self::Plain(weight) => weight.dtype(),
        }
    }

    pub(crate) fn arrays(&self) -> Vec<&Array> {
        match self {
            Self::Quantized { packed, scales, biases, .. } => vec![packed, scales, biases],
            Self::Plain(weight) => vec![weight],
        }
    }
}

/// One linear layer of a block.
pub(crate) struct Linear {
    /// Full path, such as `model.layers.0.mlp.up_proj`.
    pub(crate) path: String,
    pub(crate) weight: Weight,
    pub(crate) bias: Option<Array>,
    pub(crate) input: i32,
    pub(crate) output: i32,
    adapter: Option<Attached>,
}

/// A kernel in place of the layer's own arithmetic.
struct Attached {
    kernel: Box<dyn Kernel>,
    /// Where the layer's arrays begin among all adapters'.
    first: usize,
    kind: AdapterKind,
}

impl Linear {
    pub(crate) fn new(path: String, weight: Weight, bias: Option<Array>, input: i32, output: i32) -> Self {
        Self { path, weight, bias, input, output, adapter: None }
    }

    pub(crate) fn attach(&mut self, kernel: Box<dyn Kernel>, first: usize, kind: AdapterKind) {
        self.adapter = Some(Attached { kernel, first, kind });
    }

    pub(crate) fn forward(&self, x: &Array, adapters: &Adapters<'_>) -> Result<Array> {
        match &self.adapter {
            None => self.weight.apply(x, self.bias.as_ref()),
            Some(attached) => adapters.run(self, attached, x),
        }
    }
}

/// The trainable arrays of one forward pass, and what became of the kernels that used them.
pub struct Adapters<'a> {
    /// Of each adapted layer in turn.
    arrays: &'a [Array],
    log: &'a KernelLog,
}

/// What the kernels did: shared by all forward passes of a trainer.
#[derive(Debug, Default)]
pub struct KernelLog {
    calls: Cell<u64>,
    /// Layer and message of the first failure not yet taken.
    failure: RefCell<Option<(String, String)>>,
}

impl KernelLog {
    /// Forward calls so far. A compiled step's calls are counted when it is traced.
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Layer and message of a failure since the last call.
    pub(crate) fn take_failure(&self) -> Option<(String, String)> {
        self.failure.take()
    }
}

impl<'a> Adapters<'a> {
    /// `arrays` holds those of each adapted layer in turn, as [`AdapterKind::arrays`] has them.
    pub fn new(arrays: &'a [Array], log: &'a KernelLog) -> Self {
        Self { arrays, log }
    }

    fn run(&self, linear: &Linear, attached: &Attached, x: &Array) -> Result<Array> {
        self.log.calls.set(self.log.calls.get() + 1);
        let fail = |message: String| {
            let text = format!("kernel on {}: {message}", linear.path);
            self.log.failure.borrow_mut().get_or_insert_with(|| (linear.path.clone(), message));
            Exception::custom(text)
        };
        let array = |index: usize| host::wrap(self.arrays[attached.first + index].clone());
        let m = (attached.kind == AdapterKind::Dora).then(|| array(2));
        let adapter = Adapter { lora_a: array(0), lora_b: array(1), m };
        let x = host::wrap(x.clone());
        let result = attached.kernel.forward(&x, &adapter).map_err(|error| fail(error.to_string()))?;
        // SAFETY: nothing to uphold; this is the harness, not a kernel.
        #[expect(unsafe_code, reason = "the marker that keeps kernels away from mlx-rs")]
        let result = unsafe { host::into_mlx(result) };
        let mut expected = x.shape().to_vec();
        if let Some(last) = expected.last_mut() {
            *last = linear.output;
        }
        if result.shape() != expected {
            return Err(fail(format!("output has shape {:?} instead of {expected:?}", result.shape())));
        }
        Ok(result)
    }
}
