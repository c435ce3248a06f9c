//! A frozen linear layer, quantized or plain, with or without an adapter.

use std::cell::{Cell, RefCell};

use kernel_api::{Adapter, Kernel, KernelGroup, Layer, host};
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
    /// Absent where a group computes this layer.
    kernel: Option<Box<dyn Kernel>>,
    /// Where the layer's arrays begin among all adapters'.
    first: usize,
    kind: AdapterKind,
}

impl Linear {
    pub(crate) fn new(path: String, weight: Weight, bias: Option<Array>, input: i32, output: i32) -> Self {
        Self { path, weight, bias, input, output, adapter: None }
    }

    pub(crate) fn attach(&mut self, kernel: Box<dyn Kernel>, first: usize, kind: AdapterKind) {
        self.adapter = Some(Attached { kernel: Some(kernel), first, kind });
    }

    /// What this layer's kernel makes of the layers that share its x.
    pub(crate) fn group(&self, layers: &[Layer]) -> kernel_api::Result<Option<Box<dyn KernelGroup>>> {
        match self.adapter.as_ref().and_then(|attached| attached.kernel.as_ref()) {
            Some(kernel) => kernel.group(layers),
            None => Ok(None),
        }
    }

    /// Drops the kernel, since a group computes this layer from now on.
    pub(crate) fn join_group(&mut self) {
        if let Some(attached) = &mut self.adapter {
            attached.kernel = None;
        }
    }

    pub(crate) fn forward(&self, x: &Array, adapters: &Adapters<'_>) -> Result<Array> {
        match &self.adapter {
            None => self.weight.apply(x, self.bias.as_ref()),
            Some(attached) => adapters.run(self, attached, x),
        }
    }

    fn attached(&self) -> Result<&Attached> {
        self.adapter.as_ref().ok_or_else(|| Exception::custom(format!("{} has no adapter", self.path)))
    }
}

/// Results of layers that share x: of their group if there is one, else of each by itself.
pub(crate) fn forward_together<const N: usize>(
    group: Option<&dyn KernelGroup>,
    linears: [&Linear; N],
    x: &Array,
    adapters: &Adapters<'_>,
) -> Result<[Array; N]> {
    let results = match group {
        Some(group) => adapters.run_group(group, &linears, x)?,
        None => linears.iter().map(|linear| linear.forward(x, adapters)).collect::<Result<Vec<_>>>()?,
    };
    results.try_into().map_err(|_| Exception::custom("not a result for each layer"))
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
        let Some(kernel) = &attached.kernel else {
            return Err(Exception::custom(format!("{} was called without its group", linear.path)));
        };
        self.log.calls.set(self.log.calls.get() + 1);
        let result = kernel.forward(&host::wrap(x.clone()), &self.adapter(attached));
        let result = result.map_err(|error| self.fail(&linear.path, error.to_string()))?;
        self.accept(linear, x, result)
    }

    /// The same for layers that are computed together; a call counts for each of them.
    fn run_group(&self, group: &dyn KernelGroup, linears: &[&Linear], x: &Array) -> Result<Vec<Array>> {
        self.log.calls.set(self.log.calls.get() + linears.len() as u64);
        let adapters = linears.iter().map(|linear| Ok(self.adapter(linear.attached()?)));
        let adapters = adapters.collect::<Result<Vec<_>>>()?;
        let results = host::call_group(group, &host::wrap(x.clone()), &adapters).map_err(|error| {
            let paths: Vec<&str> = linears.iter().map(|linear| linear.path.as_str()).collect();
            self.fail(&paths.join(" + "), error.to_string())
        })?;
        linears.iter().zip(results).map(|(linear, result)| self.accept(linear, x, result)).collect()
    }

    fn adapter(&self, attached: &Attached) -> Adapter {
        let array = |index: usize| host::wrap(self.arrays[attached.first + index].clone());
        let m = (attached.kind == AdapterKind::Dora).then(|| array(2));
        Adapter { lora_a: array(0), lora_b: array(1), m }
    }

    fn accept(&self, linear: &Linear, x: &Array, result: kernel_api::Array) -> Result<Array> {
        // SAFETY: nothing to uphold; this is the harness, not a kernel.
        #[expect(unsafe_code, reason = "the marker that keeps kernels away from mlx-rs")]
        let result = unsafe { host::into_mlx(result) };
        let mut expected = x.shape().to_vec();
        if let Some(last) = expected.last_mut() {
            *last = linear.output;
        }
        if result.shape() != expected {
            let message = format!("output has shape {:?} instead of {expected:?}", result.shape());
            return Err(self.fail(&linear.path, message));
        }
        Ok(result)
    }

    fn fail(&self, layer: &str, message: String) -> Exception {
        let text = format!("kernel on {layer}: {message}");
        self.log.failure.borrow_mut().get_or_insert_with(|| (layer.to_owned(), message));
        Exception::custom(text)
    }
}
