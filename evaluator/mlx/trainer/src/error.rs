//! What can go wrong while loading and training, and who is to blame.

use std::path::{Path, PathBuf};

use mlx_rs::error::{ConversionError, Exception};

/// The trainer's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Every message names the file, key or setting, and says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder isn't a model this trainer can use.
    #[error("model {}: {problem}", .path.display())]
    Model {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong and what helps.
        problem: String,
    },
    /// The hub's model can't be had.
    #[error("hub model `{id}`: {problem}")]
    Hub {
        /// The id as written.
        id: String,
        /// What is wrong and what helps.
        problem: String,
    },
    /// The training data can't be used.
    #[error("data {}: {problem}", .path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong and what helps.
        problem: String,
    },
    /// A training setting makes no sense for this model or data.
    #[error("setting `{setting}`: {problem}")]
    Setting {
        /// The key in the problem file.
        setting: &'static str,
        /// What is wrong and what helps.
        problem: String,
    },
    /// The plugged-in kernel returned an error.
    #[error("the kernel failed on layer {layer}: {message}")]
    Kernel {
        /// Path of the layer, such as `model.layers.0.mlp.up_proj`.
        layer: String,
        /// The kernel's own words.
        message: String,
    },
    /// A reference run can't be read.
    #[error("parity run {}: {problem}", .path.display())]
    Parity {
        /// The run's folder or file.
        path: PathBuf,
        /// What is wrong and what helps.
        problem: String,
    },
    /// MLX refused an operation.
    #[error("MLX: {0}")]
    Mlx(#[from] Exception),
}

impl From<ConversionError> for Error {
    fn from(error: ConversionError) -> Self {
        Self::Mlx(Exception::custom(error.to_string()))
    }
}

impl Error {
    /// Whether the plugged-in kernel is at fault, and not model, data, settings or MLX.
    pub fn blames_kernel(&self) -> bool {
        matches!(self, Self::Kernel { .. })
    }

    pub(crate) fn model(path: &Path, problem: impl Into<String>) -> Self {
        Self::Model { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn data(path: &Path, problem: impl Into<String>) -> Self {
        Self::Data { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn parity(path: &Path, problem: impl Into<String>) -> Self {
        Self::Parity { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn setting(setting: &'static str, problem: impl Into<String>) -> Self {
        Self::Setting { setting, problem: problem.into() }
    }
}
