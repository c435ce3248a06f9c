//! The harness itself: where its parts are, and what MLX's CUDA backend compiles for it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The variable that names the folder of kernels compiled before ([`Harness::compiled`]) to a process of the harness, or several as `PATH`
/// names them.
pub const COMPILED_KERNELS: &str = "EVOLVE_COMPILED_KERNELS";

/// MLX's own variable: the folder in which it looks for compiled kernels, and leaves those that it compiles.
pub const KERNEL_CACHE: &str = "MLX_PTX_CACHE_DIR";

/// Endings of what MLX reads of a compiled kernel: the names of its functions, and its machine code, which MLX looks for first. It also
/// leaves the source, for people.
pub const KERNEL_FILES: [&str; 2] = ["txt", "ptx"];

/// The harness and the device that it runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// This harness's own version.
    pub harness: String,
    pub mlx: String,
    /// `cpu`, `metal` or `cuda`.
    pub backend: String,
    /// The processor's or GPU's name.
    pub device: String,
}

/// What the set-up step leaves behind for the evaluator: where everything is. Written to
/// `evaluator/mlx/harness.json`; paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harness {
    /// The [`PROTOCOL`](crate::PROTOCOL) that runner and grader speak; before it was counted, 0.
    #[serde(default)]
    pub protocol: u32,
    /// The trial runner.
    pub runner: PathBuf,
    /// The grader.
    pub grader: PathBuf,
    /// The kernel API's dynamic library, for `rustc --extern kernel_api=`.
    pub kernel_api: PathBuf,
    /// Folders for `rustc -L dependency=`.
    pub dependencies: Vec<PathBuf>,
    /// Folders for the dynamic linker (MLX, mlx-c, Rust's std).
    pub libraries: Vec<PathBuf>,
    /// Folders of headers that MLX's CUDA backend compiles kernels with while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<PathBuf>,
    /// Where kernels that MLX's CUDA backend compiled are kept from one process to the next. No process with a candidate in it
    /// can write there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiled: Option<PathBuf>,
    /// The compiler that built them; candidates must use the same one.
    pub rustc: PathBuf,
    /// `rustc --version` of it.
    pub rustc_version: String,
    /// The kernel API's reference text (Markdown), generated from its docs.
    pub reference: PathBuf,
    pub description: Description,
}
