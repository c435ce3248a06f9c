//! Kernels in source, as far as a processor can tell: that there are none, in words, and how a kernel does without.
#![expect(unsafe_code, reason = "tests look inside arrays")]

use kernel_api::gpu::{Backend, GpuKernel, Launch, backend};
use kernel_api::transform::custom_vjp;
use kernel_api::{Array, Dtype, Result, host};
use mlx_rs::error::Exception;
use mlx_rs::transforms::fallible_vjp;

const METAL: &str = "uint i = thread_position_in_grid.x; y[i] = x[i] * x[i];";
const CUDA: &str = "auto i = cooperative_groups::this_grid().thread_rank(); if (i < 3) y[i] = x[i] * x[i];";

fn square_kernel() -> Result<GpuKernel> {
    let source = if backend() == Backend::Cuda { CUDA } else { METAL };
    GpuKernel::new("square", &["x"], &["y"], "", source)
}

#[test]
fn a_processor_has_no_gpu_kernels_and_says_so() {
    if backend() != Backend::Cpu {
        return;
    }
    let error = square_kernel().unwrap_err().to_string();
    assert!(error.contains("backend (CPU)") && error.contains("gpu::backend()"), "{error}");
    // What is wrong with it on every backend comes first.
    let error = GpuKernel::new("square it", &["x"], &["y"], "", METAL).unwrap_err().to_string();
    assert!(error.contains("is no name"), "{error}");
}

/// The way that a kernel for all backends takes: a GPU kernel where there is one, operations elsewhere, and gradients of its own.
#[test]
fn a_kernel_with_a_source_has_its_own_gradient_and_a_way_without_a_gpu() {
    let kernel = square_kernel().ok();
    let function = custom_vjp(
        move |inputs| {
            let [x] = inputs else { panic!("one input") };
            let Some(kernel) = &kernel else { return Ok(vec![x.square()?]) };
            let launch = Launch {
                outputs: &[(x.shape(), x.dtype())],
                zeroed: false,
                grid: [3, 1, 1],
                group: [3, 1, 1],
                template: &[],
            };
            kernel.call(&[x], &launch)
        },
        |inputs, cotangents, _| Ok(vec![&cotangents[0] * &inputs[0] * 2.0]),
    )
    .unwrap();
    let x = unsafe { host::into_mlx(Array::from_slice(&[1.0, 2.0, 3.0], &[3]).unwrap()) };
    let ones = unsafe { host::into_mlx(kernel_api::ops::ones(&[3], Dtype::Float32).unwrap()) };
    let (values, gradients) = fallible_vjp(
        |inputs| {
            let outputs = function
                .call(&[&host::wrap(inputs[0].clone())])
                .map_err(|error| Exception::custom(error.to_string()))?;
            Ok(outputs.into_iter().map(|output| unsafe { host::into_mlx(output) }).collect())
        },
        &[x],
        &[ones],
    )
    .unwrap();
    mlx_rs::transforms::eval(values.iter().chain(&gradients)).unwrap();
    assert_eq!(values[0].as_slice::<f32>(), [1.0, 4.0, 9.0]);
    assert_eq!(gradients[0].as_slice::<f32>(), [2.0, 4.0, 6.0]);
}
