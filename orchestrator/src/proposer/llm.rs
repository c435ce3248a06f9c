//! A language model behind an OpenAI-compatible endpoint.

pub mod settings;

pub use settings::{LlmSettings, ModelSettings, Price};
