//! Rust declarations of mlx-c's functions: what mlx-sys' own build script makes on Apple's systems.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// mlx-rs passes half-precision values as these types. mlx-c declares them, and the functions, on Arm only.
const HALF_PRECISION: &str = r#"
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct float16_t(pub u16);
pub type bfloat16_t = u16;
unsafe extern "C" {
    pub fn mlx_array_item_float16(res: *mut float16_t, arr: mlx_array) -> ::std::os::raw::c_int;
    pub fn mlx_array_item_bfloat16(res: *mut bfloat16_t, arr: mlx_array) -> ::std::os::raw::c_int;
    pub fn mlx_array_data_float16(arr: mlx_array) -> *const float16_t;
    pub fn mlx_array_data_bfloat16(arr: mlx_array) -> *const bfloat16_t;
}
"#;

/// Where the headers are and where the declarations go.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Bindings {
    /// mlx-c's sources.
    #[arg(long)]
    pub(crate) mlx_c: PathBuf,
    /// The compiler's own C headers.
    #[arg(long)]
    pub(crate) headers: PathBuf,
    /// The Rust file to write.
    #[arg(long)]
    pub(crate) out: PathBuf,
}

impl Bindings {
    /// Writes the file, in this process. libclang is found by its own rules: `LIBCLANG_PATH`, then the system's.
    pub(crate) fn generate(&self) -> Result<()> {
        let bindings = bindgen::builder()
            .header(self.mlx_c.join("mlx/c/mlx.h").display().to_string())
            // Leaves out what differs between processors; HALF_PRECISION takes its place on all of them.
            .clang_args(["-DMLX_HALF_H".into(), format!("-I{}", self.mlx_c.display())])
            .clang_args(["-isystem".into(), self.headers.display().to_string()])
            .rust_target("1.82.0".parse().map_err(|_| anyhow::anyhow!("bindgen no longer knows this Rust"))?)
            .allowlist_item("_?mlx_.*|MLX_.*")
            .raw_line(HALF_PRECISION)
            .generate()
            .context("can't read mlx-c's headers")?;
        bindings.write_to_file(&self.out).with_context(|| format!("can't write {}", self.out.display()))
    }

    /// Writes the file, in a child with `libclang` in its environment: libclang's place is read from nowhere else, and
    /// a process can't safely change its own environment.
    pub(crate) fn generate_with(&self, libclang: &Path) -> Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env("LIBCLANG_PATH", libclang).arg("bindings");
        command
            .arg("--mlx-c")
            .arg(&self.mlx_c)
            .arg("--headers")
            .arg(&self.headers)
            .arg("--out")
            .arg(&self.out);
        process::run("reading mlx-c's headers", &mut command, &self.out).map(drop)
    }
}
