//! What this harness is and what it runs on.
#![expect(unsafe_code, reason = "mlx-rs doesn't tell its version or its device's name")]

use std::ffi::CStr;

use anyhow::{Context, Result, ensure};
use kernel_api::gpu::{self, Backend};
use mlx_rs::Array;
use trial_protocol::Description;

/// Computes something first: a library that loads is not yet one that works.
pub(crate) fn description() -> Result<Description> {
    let four = mlx_rs::ops::add(Array::from_int(2), Array::from_int(2))?;
    ensure!(four.try_item_exact::<i32>()? == 4, "MLX can't add");
    let backend = match gpu::backend() {
        Backend::Cpu => "cpu",
        Backend::Metal => "metal",
        Backend::Cuda => "cuda",
    };
    Ok(Description {
        harness: env!("CARGO_PKG_VERSION").into(),
        mlx: version()?,
        backend: backend.into(),
        device: device_name().unwrap_or_else(|| std::env::consts::ARCH.into()),
    })
}

fn version() -> Result<String> {
    // SAFETY: a fresh handle, read before it is freed.
    unsafe {
        let mut text = mlx_sys::mlx_string_new();
        let status = mlx_sys::mlx_version(&raw mut text);
        let version = read(mlx_sys::mlx_string_data(text));
        mlx_sys::mlx_string_free(text);
        version.filter(|_| status == 0).context("MLX doesn't tell its version")
    }
}

/// As MLX names it; for a processor, as the system names it.
fn device_name() -> Option<String> {
    // SAFETY: fresh handles; the text belongs to `info` and is copied before that is freed.
    let name = unsafe {
        let mut device = mlx_sys::mlx_device_new();
        let mut info = mlx_sys::mlx_device_info_new();
        let mut text = std::ptr::null();
        let found = mlx_sys::mlx_get_default_device(&raw mut device) == 0
            && mlx_sys::mlx_device_info_get(&raw mut info, device) == 0
            && mlx_sys::mlx_device_info_get_string(&raw mut text, info, c"device_name".as_ptr()) == 0;
        let name = read(text).filter(|_| found);
        mlx_sys::mlx_device_info_free(info);
        mlx_sys::mlx_device_free(device);
        name
    };
    name.filter(|name| !name.is_empty())
}

/// # Safety
/// `text` is null or a C string.
unsafe fn read(text: *const std::ffi::c_char) -> Option<String> {
    // SAFETY: as promised by the caller.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned())
}
