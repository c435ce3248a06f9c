//! What a kernel may use of MLX. A kernel computes one linear layer with its LoRA or DoRA adapter; MLX differentiates it.
//!
//! A program has `pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>>`, which makes the kernel of one layer. It is
//! compiled with `#![forbid(unsafe_code)]` and can use this crate and Rust's standard library, nothing else.

// mlx-rs itself would hand out files, raw pointers and devices. Its types stay out of a kernel's reach, see `host`.

pub use kernel::{Kernel, KernelGroup};

pub use layer::{Layer, Weight};

pub use layer::{Adapter, AdapterKind, QuantizedWeight};

pub use kernel::{MlxLmLora, PlainLora};

pub use dora::{MlxLmDora, PlainDora};

pub use array::Array;

pub use dtype::Dtype;

pub use error::{Error, Result};

mod arithmetic;
mod array;
mod dora;
mod dtype;
mod error;
pub mod gpu;
#[doc(hidden)]
pub mod host;
mod kernel;
mod layer;
pub mod ops;
mod reduction;
mod shape;
pub mod transform;
mod vector;
