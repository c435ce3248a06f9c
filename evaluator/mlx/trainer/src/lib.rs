//! Fine-tunes a (quantized) Qwen2 with LoRA adapters as MLX-LM does it: same layers, same loss, same optimizers,
//! same numbers. Each adapted layer is run by a kernel, MLX-LM's own or one plugged in.
//!
//! [`Trainer`] is a whole run; [`parity`] compares with runs that MLX-LM recorded.

pub mod compiled;
pub mod config;
pub mod data;
pub mod error;
pub mod hub;
pub mod linear;
pub mod lora;
pub mod loss;
pub mod model;
pub mod optimizer;
pub mod parity;
pub mod qwen2;
pub mod step;
pub mod synthetic;
pub mod tokenizer;
pub mod trainer;
mod weights;

pub use error::{Error, Result};
pub use lora::{BuildKernel, Slot};
pub use trainer::{Run, Start, Trainer};
