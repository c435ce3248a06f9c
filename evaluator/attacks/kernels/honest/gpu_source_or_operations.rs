//! title: the adapter added by a kernel in Metal or CUDA source, by operations where there is no GPU

use kernel_api::gpu::{self, Backend, GpuKernel, Launch, Template};
use kernel_api::transform::{Function, custom_vjp};

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    /// `y + z`, rounded to y's type.
    sum: Function,
}

const METAL: &str = "uint i = thread_position_in_grid.x; if (i < N) out[i] = y[i] + T(z[i]);";
const CUDA: &str = "auto i = cooperative_groups::this_grid().thread_rank(); if (i < N) out[i] = y[i] + T(z[i]);";

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let source = match gpu::backend() {
            Backend::Cpu => None,
            Backend::Metal => Some(METAL),
            Backend::Cuda => Some(CUDA),
        };
        let make = |source| GpuKernel::new("add_adapter", &["y", "z"], &["out"], "", source);
        let kernel = source.map(make).transpose()?;
        let forward = move |inputs: &[Array]| {
            let [y, z] = inputs else { return Err(Error::new("two inputs")) };
            let Some(kernel) = &kernel else { return Ok(vec![y.add(&z.astype(y.dtype())?)?]) };
            let size = y.size() as i32;
            let launch = Launch {
                outputs: &[(y.shape(), y.dtype())],
                zeroed: false,
                grid: [size, 1, 1],
                group: [size.min(256), 1, 1],
                template: &[("T", Template::Dtype(y.dtype())), ("N", Template::Int(size))],
            };
            kernel.call(&[y, z], &launch)
        };
        let backward = |_: &[Array], cotangents: &[Array], _: &[Array]| {
            Ok(vec![cotangents[0].clone(), cotangents[0].astype(Dtype::Float32)?])
        };
        let (bias, sum) = (layer.bias.clone(), custom_vjp(forward, backward)?);
        Ok(Self { weight: weight.clone(), bias, scale: layer.scale, sum })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        Ok(self.sum.call(&[&y, &z])?.remove(0))
    }
}
