//! For the trainer and the runner: between this crate's arrays and mlx-rs' own.
//!
//! Whoever has mlx-rs' array can read files with it. So [`into_mlx`] is `unsafe`, although it can't break memory:
//! candidates are compiled with `#[forbid(unsafe_code)]`.

use crate::{Adapter, Array, Error, Kernel, KernelGroup, Layer, Result};

/// Wraps an array.
pub fn wrap(array: mlx_rs::Array) -> Array {
    Array { inner: array }
}

/// Takes the array out.
///
/// # Safety
/// There is nothing to break. Calling it says that the caller is not a kernel.
#[expect(unsafe_code, reason = "keeps kernels out, see above")]
pub unsafe fn into_mlx(array: Array) -> mlx_rs::Array {
    array.inner
}

/// What went wrong since the last call inside a kernel's own gradient function. MLX's error says only that something did.
pub fn take_failure() -> Option<String> {
    crate::transform::take_failure()
}

/// What computes layers that share an input.
pub enum Together {
    /// Each layer's own kernel.
    Each(Vec<Box<dyn Kernel>>),
    /// One for all.
    Group(Box<dyn KernelGroup>),
}

impl Together {
    /// Of the layers' kernels: what the first makes of them all. A layer by itself is no group.
    pub fn new(kernels: Vec<Box<dyn Kernel>>, layers: &[Layer]) -> Result<Self> {
        let group = match kernels.split_first() {
            Some((first, rest)) if !rest.is_empty() => first.group(layers)?,
            _ => None,
        };
        Ok(group.map_or(Self::Each(kernels), Self::Group))
    }

    /// Each layer's result.
    pub fn forward(&self, x: &Array, adapters: &[Adapter]) -> Result<Vec<Array>> {
        match self {
            Self::Each(kernels) => {
                kernels.iter().zip(adapters).map(|(kernel, adapter)| kernel.forward(x, adapter)).collect()
            }
            Self::Group(group) => call_group(group.as_ref(), x, adapters),
        }
    }
}

/// A group's results, which must be as many as its layers.
pub fn call_group(group: &dyn KernelGroup, x: &Array, adapters: &[Adapter]) -> Result<Vec<Array>> {
    let results = group.forward(x, adapters)?;
    if results.len() == adapters.len() {
        return Ok(results);
    }
    Err(Error::new(format!("a group of {} layers gave {} results", adapters.len(), results.len())))
}

/// Computes something, so that the device is ready.
pub fn wake() -> Result<()> {
    Ok(mlx_rs::ops::add(mlx_rs::Array::from_int(2), mlx_rs::Array::from_int(2))?.eval()?)
}
