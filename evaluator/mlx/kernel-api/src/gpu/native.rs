//! mlx-c's two families of functions for kernels in source. They are declared, and linked, on every backend.
//!
//! What a kernel does on a GPU no wrapper can check: it may read and write whatever this process has there. That is no more than
//! any candidate can do here ([`crate`] is no boundary), and outside this process only bytes count.
#![expect(unsafe_code, reason = "mlx-c's interface")]

use std::ffi::{CStr, CString, c_char, c_int};

use mlx_rs::Stream;
use mlx_sys::{
    mlx_fast_cuda_kernel, mlx_fast_cuda_kernel_config, mlx_fast_metal_kernel, mlx_fast_metal_kernel_config,
};

use super::{Launch, Template};
use crate::vector::Vector;
use crate::{Array, Error, Result};

const SUCCESS: c_int = 0;

/// A kernel of one of the backends.
#[derive(Debug)]
pub(super) enum Kernel {
    Metal(mlx_fast_metal_kernel),
    Cuda(mlx_fast_cuda_kernel),
}

/// The calls that differ by nothing but their names.
macro_rules! call {
    ($kernel:expr, $inputs:expr, $launch:expr, $config:ident, $free:ident, $new:ident, $output:ident, $grid:ident, $group:ident,
     $init:ident, $dtype:ident, $int:ident, $bool:ident, $apply:ident) => {{
        struct Config($config);

        impl Drop for Config {
            fn drop(&mut self) {
                // SAFETY: the handle is ours.
                unsafe { mlx_sys::$free(self.0) };
            }
        }

        // SAFETY: makes a handle.
        let config = Config(unsafe { mlx_sys::$new() });
        made(config.0.ctx.is_null())?;
        let ([x, y, z], [a, b, c]) = ($launch.grid, $launch.group);
        // SAFETY: the handle is valid, and MLX copies what the pointers point to.
        unsafe {
            for (shape, dtype) in $launch.outputs {
                let dtype = mlx_rs::Dtype::from(*dtype).into();
                done(mlx_sys::$output(config.0, shape.as_ptr(), shape.len(), dtype))?;
            }
            done(mlx_sys::$grid(config.0, x, y, z))?;
            done(mlx_sys::$group(config.0, a, b, c))?;
            if $launch.zeroed {
                done(mlx_sys::$init(config.0, 0.0))?;
            }
            for (name, value) in $launch.template {
                let name = text(name)?;
                done(match *value {
                    Template::Dtype(dtype) => {
                        mlx_sys::$dtype(config.0, name.as_ptr(), mlx_rs::Dtype::from(dtype).into())
                    }
                    Template::Int(value) => mlx_sys::$int(config.0, name.as_ptr(), value),
                    Template::Bool(value) => mlx_sys::$bool(config.0, name.as_ptr(), value),
                })?;
            }
        }
        let stream = Stream::try_default_on_device(&mlx_rs::Device::try_default()?)?;
        let (inputs, mut outputs) = (Vector::of($inputs.iter().copied()), Vector::new());
        // SAFETY: all handles are valid.
        done(unsafe {
            mlx_sys::$apply(outputs.place(), $kernel, inputs.handle(), config.0, stream.as_ptr())
        })?;
        outputs.arrays()
    }};
}

impl Kernel {
    pub(super) fn metal(
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        header: &str,
        source: &str,
    ) -> Result<Self> {
        let (name, header, source) = (text(name)?, text(header)?, text(source)?);
        let (inputs, outputs) = (Names::of(inputs)?, Names::of(outputs)?);
        // SAFETY: all texts outlive the call, which copies them.
        let kernel = unsafe {
            mlx_sys::mlx_fast_metal_kernel_new(
                name.as_ptr(),
                inputs.0,
                outputs.0,
                source.as_ptr(),
                header.as_ptr(),
                true,
                false,
            )
        };
        made(kernel.ctx.is_null()).map(|()| Self::Metal(kernel))
    }

    pub(super) fn cuda(
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        header: &str,
        source: &str,
    ) -> Result<Self> {
        let (name, header, source) = (text(name)?, text(header)?, text(source)?);
        let (inputs, outputs) = (Names::of(inputs)?, Names::of(outputs)?);
        // SAFETY: all texts outlive the call, which copies them. No memory is shared beyond what the source declares.
        let kernel = unsafe {
            mlx_sys::mlx_fast_cuda_kernel_new(
                name.as_ptr(),
                inputs.0,
                outputs.0,
                source.as_ptr(),
                header.as_ptr(),
                true,
                0,
            )
        };
        made(kernel.ctx.is_null()).map(|()| Self::Cuda(kernel))
    }

    pub(super) fn call(&self, inputs: &[&Array], launch: &Launch<'_>) -> Result<Vec<Array>> {
        match self {
            Self::Metal(kernel) => call!(
                *kernel,
                inputs,
                launch,
                mlx_fast_metal_kernel_config,
                mlx_fast_metal_kernel_config_free,
                mlx_fast_metal_kernel_config_new,
                mlx_fast_metal_kernel_config_add_output_arg,
                mlx_fast_metal_kernel_config_set_grid,
                mlx_fast_metal_kernel_config_set_thread_group,
                mlx_fast_metal_kernel_config_set_init_value,
                mlx_fast_metal_kernel_config_add_template_arg_dtype,
                mlx_fast_metal_kernel_config_add_template_arg_int,
                mlx_fast_metal_kernel_config_add_template_arg_bool,
                mlx_fast_metal_kernel_apply
            ),
            Self::Cuda(kernel) => call!(
                *kernel,
                inputs,
                launch,
                mlx_fast_cuda_kernel_config,
                mlx_fast_cuda_kernel_config_free,
                mlx_fast_cuda_kernel_config_new,
                mlx_fast_cuda_kernel_config_add_output_arg,
                mlx_fast_cuda_kernel_config_set_grid,
                mlx_fast_cuda_kernel_config_set_thread_group,
                mlx_fast_cuda_kernel_config_set_init_value,
                mlx_fast_cuda_kernel_config_add_template_arg_dtype,
                mlx_fast_cuda_kernel_config_add_template_arg_int,
                mlx_fast_cuda_kernel_config_add_template_arg_bool,
                mlx_fast_cuda_kernel_apply
            ),
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // SAFETY: the handle is ours.
        unsafe {
            match self {
                Self::Metal(kernel) => mlx_sys::mlx_fast_metal_kernel_free(*kernel),
                Self::Cuda(kernel) => mlx_sys::mlx_fast_cuda_kernel_free(*kernel),
            }
        }
    }
}

/// A list of texts on MLX's side.
struct Names(mlx_sys::mlx_vector_string);

impl Names {
    fn of(names: &[&str]) -> Result<Self> {
        let texts = names.iter().map(|name| text(name)).collect::<Result<Vec<CString>>>()?;
        let mut pointers: Vec<*const c_char> = texts.iter().map(|text| CStr::as_ptr(text)).collect();
        // SAFETY: MLX copies the texts, which outlive this call.
        let names =
            Self(unsafe { mlx_sys::mlx_vector_string_new_data(pointers.as_mut_ptr(), pointers.len()) });
        made(names.0.ctx.is_null()).map(|()| names)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // SAFETY: the handle is ours.
        unsafe { mlx_sys::mlx_vector_string_free(self.0) };
    }
}

fn text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new("a NUL character"))
}

fn made(is_null: bool) -> Result<()> {
    if is_null { Err(Error::new("MLX refused to make a GPU kernel")) } else { Ok(()) }
}

fn done(status: c_int) -> Result<()> {
    if status == SUCCESS { Ok(()) } else { Err(Error::new("MLX refused to call a GPU kernel")) }
}
