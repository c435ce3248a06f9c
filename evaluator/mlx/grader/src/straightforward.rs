//! Plain ways of computing a layer in its own types. None of them is exact; how far they are off says how exact a kernel
//! can be expected to be.

use kernel_api::host::Together;
use kernel_api::{Adapter, AdapterKind, Array, Dtype, Kernel, Layer, Result, Weight};
use mlx_rs::error::Result as MlxResult;
use trainer::BuildKernel;
use trainer::lora::mlx_lms;

use crate::challenge::{self, Material};

/// A way of computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// MLX-LM's own layer.
    MlxLm,
    /// The way of multiplying with the weight that MLX-LM's own layer doesn't take: unpacked for LoRA, packed for DoRA.
    Other,
    /// MLX-LM's own layer with the adapter in the layer's type. Differs in half precision only.
    Narrow,
}

impl Execution {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::MlxLm, Self::Other, Self::Narrow];

    /// The kernel that computes this way.
    pub fn build(self, layer: &Layer) -> Box<dyn Kernel> {
        match self {
            Self::MlxLm => mlx_lms(layer),
            Self::Other => other(layer),
            Self::Narrow => Box::new(Narrow(mlx_lms(layer), layer.dtype)),
        }
    }
}

/// For [`trainer::Trainer`]: [`Execution::Other`].
pub const OTHER: BuildKernel = |layer| Ok(other(layer));

/// The weight unpacked as a whole.
pub const UNPACKED: BuildKernel =
    |layer| Ok(Box::new(By { layer: layer.clone(), product: unpacked, parts: 1 }));

/// The same in two halves, whose sums round differently.
pub const HALVES: BuildKernel = |layer| Ok(Box::new(By { layer: layer.clone(), product: halves, parts: 2 }));

fn other(layer: &Layer) -> Box<dyn Kernel> {
    let product = match layer.adapter {
        AdapterKind::Lora => unpacked,
        AdapterKind::Dora => packed,
    };
    Box::new(By { layer: layer.clone(), product, parts: 1 })
}

/// A layer whose product with the frozen weight is computed so.
struct By {
    layer: Layer,
    product: fn(&Layer, &Array) -> Result<Array>,
    /// In so many parts a row's length is summed up.
    parts: i32,
}

impl Kernel for By {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let layer = &self.layer;
        let product = (self.product)(layer, x)?;
        let z = x.matmul(&adapter.lora_a)?.matmul(&(&adapter.lora_b * layer.scale))?.astype(x.dtype())?;
        let with_bias = |y: Array| layer.bias.as_ref().map_or(Ok(y.clone()), |bias| y.add(bias));
        match layer.adapter {
            AdapterKind::Lora => with_bias(product)?.add(&z),
            AdapterKind::Dora => {
                let factor = adapter.magnitude()?.divide(&norm(layer, adapter, self.parts)?)?;
                with_bias(product.add(&z)?.multiply(&factor.astype(x.dtype())?)?)
            }
        }
    }
}

fn whole(layer: &Layer) -> Result<Array> {
    match &layer.weight {
        Weight::Quantized(weight) => weight.dequantize(),
        Weight::Plain(weight) => Ok(weight.clone()),
    }
}

fn unpacked(layer: &Layer, x: &Array) -> Result<Array> {
    x.matmul(&whole(layer)?.t()?)
}

fn packed(layer: &Layer, x: &Array) -> Result<Array> {
    match &layer.weight {
        Weight::Quantized(weight) => weight.matmul(x),
        Weight::Plain(_) => unpacked(layer, x),
    }
}

/// The inputs in two halves, whose products are added.
fn halves(layer: &Layer, x: &Array) -> Result<Array> {
    let (weight, half, last) = (whole(layer)?, layer.input / 2, x.ndim() as i32 - 1);
    let part = |from: i32, to: i32| x.slice(last, from, to)?.matmul(&weight.slice(1, from, to)?.t()?);
    part(0, half)?.add(&part(half, layer.input)?)
}

/// The length of each row of weight and adapter together.
fn norm(layer: &Layer, adapter: &Adapter, parts: i32) -> Result<Array> {
    let delta = adapter.lora_a.matmul(&(&adapter.lora_b * layer.scale))?.t()?;
    let squares = whole(layer)?.astype(Dtype::Float32)?.add(&delta)?.square()?;
    let mut sum: Option<Array> = None;
    for part in 0..parts {
        let (from, to) = (layer.input * part / parts, layer.input * (part + 1) / parts);
        let part = squares.slice(1, from, to)?.sum(&[1], false)?;
        sum = Some(sum.map_or(Ok(part.clone()), |sum| sum.add(&part))?);
    }
    sum.map_or_else(|| Err(kernel_api::Error::new("no parts")), |sum| sum.sqrt()?.stop_gradient())
}

struct Narrow(Box<dyn Kernel>, Dtype);

impl Kernel for Narrow {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let [lora_a, lora_b] = [&adapter.lora_a, &adapter.lora_b].map(|array| array.astype(self.1));
        self.0.forward(x, &Adapter { lora_a: lora_a?, lora_b: lora_b?, ..adapter.clone() })
    }
}

/// Results for the first inputs, computed in one of these ways.
pub fn first_results(execution: Execution, material: &Material) -> MlxResult<Vec<mlx_rs::Array>> {
    challenge::forward(&kernels(execution, material), &material.arrays(&material.first), &material.layers)
}

/// Results and gradients of x and the adapters' arrays for the second inputs, computed in one of these ways.
pub fn execute(execution: Execution, material: &Material) -> MlxResult<Vec<mlx_rs::Array>> {
    let (kernels, inputs) = (kernels(execution, material), material.arrays(&material.second));
    let (results, gradients) =
        challenge::gradients(&kernels, &inputs, &material.layers, &material.cotangents())?;
    Ok(results.into_iter().chain(gradients).collect())
}

/// Each layer by itself.
fn kernels(execution: Execution, material: &Material) -> Together {
    Together::Each(material.layers.iter().map(|layer| execution.build(layer)).collect())
}
