//! Plain ways of computing a layer in its own types. None of them is exact; how far they are off says how exact a kernel
//! can be expected to be.

use kernel_api::{Adapter, Array, Kernel, Layer, MlxLmLora, Result, Weight};
use mlx_rs::error::Result as MlxResult;
use trainer::BuildKernel;

use crate::challenge::{self, Material};

/// A way of computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// MLX-LM's own layer.
    MlxLm,
    /// The weight unpacked as a whole, and an ordinary matrix product.
    Unpacked,
    /// MLX-LM's own layer with the adapter in the layer's type. Differs in half precision only.
    Narrow,
}

impl Execution {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::MlxLm, Self::Unpacked, Self::Narrow];

    /// The kernel that computes this way.
    pub fn build(self, layer: &Layer) -> Result<Box<dyn Kernel>> {
        Ok(match self {
            Self::MlxLm => Box::new(MlxLmLora::new(layer)),
            Self::Unpacked => Box::new(Unpacked(layer.clone())),
            Self::Narrow => Box::new(Narrow(MlxLmLora::new(layer), layer.clone())),
        })
    }
}

/// For [`trainer::Trainer`]: the weight unpacked as a whole.
pub const UNPACKED: BuildKernel = |layer| Execution::Unpacked.build(layer);

/// The same in two halves, whose sums round differently.
pub const HALVES: BuildKernel = |layer| Ok(Box::new(Halves(layer.clone())));

fn whole(layer: &Layer) -> Result<Array> {
    match &layer.weight {
        Weight::Quantized(weight) => weight.dequantize(),
        Weight::Plain(weight) => Ok(weight.clone()),
    }
}

fn finish(layer: &Layer, mut y: Array, x: &Array, adapter: &Adapter) -> Result<Array> {
    if let Some(bias) = &layer.bias {
        y = y.add(bias)?;
    }
    let z = x.matmul(&adapter.lora_a)?.matmul(&(&adapter.lora_b * layer.scale))?;
    y.add(&z.astype(x.dtype())?)
}

/// The inputs in two halves, whose products are added.
struct Halves(Layer);

impl Kernel for Halves {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let (weight, half, last) = (whole(&self.0)?, self.0.input / 2, x.ndim() as i32 - 1);
        let part = |from: i32, to: i32| x.slice(last, from, to)?.matmul(&weight.slice(1, from, to)?.t()?);
        let y = part(0, half)?.add(&part(half, self.0.input)?)?;
        finish(&self.0, y, x, adapter)
    }
}

struct Unpacked(Layer);

impl Kernel for Unpacked {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        finish(&self.0, x.matmul(&whole(&self.0)?.t()?)?, x, adapter)
    }
}

struct Narrow(MlxLmLora, Layer);

impl Kernel for Narrow {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let [lora_a, lora_b] = [&adapter.lora_a, &adapter.lora_b].map(|array| array.astype(self.1.dtype));
        self.0.forward(x, &Adapter { lora_a: lora_a?, lora_b: lora_b? })
    }
}

/// Result for the first inputs, computed in one of these ways.
pub fn first_result(execution: Execution, material: &Material) -> MlxResult<mlx_rs::Array> {
    let kernel = built(execution, material)?;
    challenge::forward(kernel.as_ref(), &material.arrays(&material.first), material.layer.output)
}

fn built(execution: Execution, material: &Material) -> MlxResult<Box<dyn Kernel>> {
    execution.build(&material.layer).map_err(|error| mlx_rs::error::Exception::custom(error.to_string()))
}

/// Result and gradients of x, `lora_a`, `lora_b` for the second inputs, computed in one of these ways.
pub fn execute(execution: Execution, material: &Material) -> MlxResult<[mlx_rs::Array; 4]> {
    let kernel = built(execution, material)?;
    let inputs = material.arrays(&material.second);
    let (forward, gradients) = challenge::gradients(kernel.as_ref(), &inputs, &material.cotangent())?;
    let mut gradients = gradients.into_iter();
    let mut next = || gradients.next().ok_or_else(|| mlx_rs::error::Exception::custom("three gradients"));
    Ok([forward, next()?, next()?, next()?])
}
