//! What a kernel may use of MLX, and nothing more.
//!
//! A kernel computes one linear layer with a LoRA adapter: forward with these operations, backward by MLX's automatic
//! differentiation. Programs of this search define `build`, which makes a [`Kernel`] of each [`Layer`].
//!
//! mlx-rs itself would hand out files, raw pointers and devices; here there are arrays and arithmetic. Its types stay
//! out of reach: getting at the array inside takes `unsafe`, which candidates are compiled without ([`host`]).

pub use array::Array;
pub use dtype::Dtype;
pub use error::{Error, Result};
pub use kernel::{Kernel, MlxLmLora, PlainLora};
pub use layer::{Adapter, Layer, QuantizedWeight, Weight};

mod arithmetic;
mod array;
mod dtype;
mod error;
#[doc(hidden)]
pub mod host;
mod kernel;
mod layer;
pub mod ops;
mod reduction;
mod shape;
mod transform;
