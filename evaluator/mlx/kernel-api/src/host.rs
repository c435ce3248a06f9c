//! For the trainer and the runner: between this crate's arrays and mlx-rs' own.
//!
//! Whoever has mlx-rs' array can read files with it. So [`into_mlx`] is `unsafe`, although it can't break memory:
//! candidates are compiled with `#[forbid(unsafe_code)]`.

use crate::Array;

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
