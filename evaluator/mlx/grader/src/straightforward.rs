//! Plain ways of computing a layer in its own types. None of them is exact; how far they are off says how exact a kernel
//! can be expected to be.

use kernel_api::{Adapter, Array, Kernel, Layer, MlxLmLora, Result, Weight};
use mlx_rs::error::Result as MlxResult;

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

/// For [`trainer::Trainer`].
pub fn build_unpacked(layer: &Layer) -> Result<Box<dyn Kernel>> {
    Execution::Unpacked.build(layer)
}

struct Unpacked(Layer);

impl Kernel for Unpacked {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let weight = match &self.0.weight {
            Weight::Quantized(weight) => weight.dequantize()?,
            Weight::Plain(weight) => weight.clone(),
        };
        let mut y = x.matmul(&weight.t()?)?;
        if let Some(bias) = &self.0.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&(&adapter.lora_b * self.0.scale))?;
        y.add(&z.astype(x.dtype())?)
    }
}

struct Narrow(MlxLmLora, Layer);

impl Kernel for Narrow {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let [lora_a, lora_b] = [&adapter.lora_a, &adapter.lora_b].map(|array| array.astype(self.1.dtype));
        self.0.forward(x, &Adapter { lora_a: lora_a?, lora_b: lora_b? })
    }
}

/// Result and gradients of x, `lora_a`, `lora_b` for the second inputs, computed in one of these ways.
pub fn execute(execution: Execution, material: &Material) -> MlxResult<[mlx_rs::Array; 4]> {
    let kernel = execution
        .build(&material.layer)
        .map_err(|error| mlx_rs::error::Exception::custom(error.to_string()))?;
    let inputs = material.arrays(&material.second);
    let (forward, gradients) = challenge::gradients(kernel.as_ref(), &inputs, &material.cotangent())?;
    let mut gradients = gradients.into_iter();
    let mut next = || gradients.next().ok_or_else(|| mlx_rs::error::Exception::custom("three gradients"));
    Ok([forward, next()?, next()?, next()?])
}
