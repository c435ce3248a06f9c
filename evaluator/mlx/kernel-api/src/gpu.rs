//! Kernels of your own for the GPU, in Metal or CUDA source. A kernel has no gradients: call it inside `transform::custom_vjp`.

use mlx_rs::{Device, DeviceType};

use crate::{Array, Dtype, Error, Result};

mod native;

/// What MLX computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Backend {
    Cpu,
    Metal,
    Cuda,
}

/// What this process computes on.
pub fn backend() -> Backend {
    let device = Device::try_default().and_then(|device| device.get_type());
    let is_gpu = matches!(device, Ok(DeviceType::Gpu));
    match (is_gpu, cfg!(target_os = "macos")) {
        (false, _) => Backend::Cpu,
        (true, true) => Backend::Metal,
        (true, false) => Backend::Cuda,
    }
}

/// What a name in the source stands for: `template <typename T, int N, bool B>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Template {
    Dtype(Dtype),
    Int(i32),
    Bool(bool),
}

/// How a kernel is called.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// Shape and type of each output.
    pub outputs: &'a [(&'a [i32], Dtype)],
    /// Whether outputs are all 0 before the kernel runs, which is a launch more for each. Without it a kernel has to write every
    /// element: what it doesn't write is whatever lay there.
    pub zeroed: bool,
    /// Threads (not groups) in three directions, on both backends.
    pub grid: [i32; 3],
    /// Of these so many are a group (a block), at most 1024 in all.
    pub group: [i32; 3],
    /// Names that the source is compiled with.
    pub template: &'a [(&'a str, Template)],
}

/// A kernel in the language of [`backend`].
#[derive(Debug)]
pub struct GpuKernel {
    native: native::Kernel,
    inputs: usize,
    outputs: usize,
}

/// Longest source, header included, in bytes.
const SOURCE_BYTES: usize = 32 << 10;
const NAME_BYTES: usize = 64;
/// Metal has 31 places for buffers, and MLX puts shapes and strides of inputs there too.
const INPUTS: usize = 8;
const OUTPUTS: usize = 4;
const TEMPLATES: usize = 16;
const DIMENSIONS: usize = 8;
/// Bytes of all outputs together.
const OUTPUT_BYTES: u64 = 2 << 30;
/// In a group, on every GPU that MLX knows.
const GROUP_THREADS: i64 = 1024;
/// In a launch. More would keep a GPU busy for longer than anything here may take.
const GRID_THREADS: i64 = 1 << 34;

impl GpuKernel {
    /// `source` is a function's body; inputs and outputs are pointers to row-major arrays by these names, as in
    /// `mx.fast.metal_kernel` and `mx.fast.cuda_kernel`, and `header` stands before the function. Errors where [`backend`] is
    /// `Cpu`: compute with [`Array`]'s operations there. It is compiled by the first call whose result is used.
    pub fn new(name: &str, inputs: &[&str], outputs: &[&str], header: &str, source: &str) -> Result<Self> {
        check_source(name, inputs, outputs, header, source)?;
        let native = match backend() {
            Backend::Cpu => {
                let words = "there are no GPU kernels on this backend (CPU); ask `gpu::backend()`, and compute with Array's \
                             operations there";
                return Err(Error::new(words));
            }
            Backend::Metal => native::Kernel::metal(name, inputs, outputs, header, source)?,
            Backend::Cuda => native::Kernel::cuda(name, inputs, outputs, header, source)?,
        };
        Ok(Self { native, inputs: inputs.len(), outputs: outputs.len() })
    }

    /// The outputs.
    pub fn call(&self, inputs: &[&Array], launch: &Launch<'_>) -> Result<Vec<Array>> {
        let given = (inputs.len(), launch.outputs.len());
        if given != (self.inputs, self.outputs) {
            let message =
                format!("a kernel of {} inputs and {} outputs got {given:?}", self.inputs, self.outputs);
            return Err(Error::new(message));
        }
        check_launch(launch)?;
        self.native.call(inputs, launch)
    }
}

fn check_source(name: &str, inputs: &[&str], outputs: &[&str], header: &str, source: &str) -> Result<()> {
    let bytes = header.len() + source.len();
    if bytes > SOURCE_BYTES {
        let message = format!("a kernel's source has {bytes} bytes, at most {SOURCE_BYTES} are allowed");
        return Err(Error::new(message));
    }
    if header.contains('\0') || source.contains('\0') {
        return Err(Error::new("a NUL character in a kernel's source"));
    }
    if inputs.len() > INPUTS || outputs.len() > OUTPUTS || outputs.is_empty() {
        let message = format!(
            "a kernel has up to {INPUTS} inputs and 1 to {OUTPUTS} outputs, not {} and {}",
            inputs.len(),
            outputs.len()
        );
        return Err(Error::new(message));
    }
    let mut names: Vec<&str> = inputs.iter().chain(outputs).copied().collect();
    names.iter().chain([&name]).try_for_each(|name| check_name(name))?;
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::new(format!("two inputs or outputs are called `{}`", pair[0]))),
        None => Ok(()),
    }
}

/// MLX puts names into the source as they are.
fn check_name(name: &str) -> Result<()> {
    let first = name.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    let rest = name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    if first && rest && name.len() <= NAME_BYTES {
        return Ok(());
    }
    let message = format!(
        "`{name:.64}` is no name for a kernel's source: letters, digits and `_`, at most {NAME_BYTES}"
    );
    Err(Error::new(message))
}

fn check_launch(launch: &Launch<'_>) -> Result<()> {
    let mut bytes = 0_u64;
    for (shape, dtype) in launch.outputs {
        let mut lengths = shape.iter().map(|&length| u64::try_from(length).ok().filter(|length| *length > 0));
        let size = lengths.try_fold(1_u64, |size, length| size.checked_mul(length?));
        match size.filter(|_| shape.len() <= DIMENSIONS) {
            Some(size) => bytes = bytes.saturating_add(size.saturating_mul(dtype.bytes())),
            None => return Err(Error::new(format!("a kernel can't have an output of shape {shape:?}"))),
        }
    }
    if bytes > OUTPUT_BYTES {
        let message = format!("a kernel's outputs have {bytes} bytes, at most {OUTPUT_BYTES} are allowed");
        return Err(Error::new(message));
    }
    for (what, threads, most) in [("grid", launch.grid, GRID_THREADS), ("group", launch.group, GROUP_THREADS)]
    {
        let all = threads.iter().try_fold(1_i64, |all, &length| all.checked_mul(i64::from(length)));
        if threads.iter().any(|&length| length < 1) || all.is_none_or(|all| all > most) {
            let message = format!("a kernel's {what} is {threads:?}; each at least 1, in all at most {most}");
            return Err(Error::new(message));
        }
    }
    if launch.template.len() > TEMPLATES {
        let message =
            format!("{} template arguments, at most {TEMPLATES} are allowed", launch.template.len());
        return Err(Error::new(message));
    }
    launch.template.iter().try_for_each(|(name, _)| check_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch<'a>(outputs: &'a [(&'a [i32], Dtype)]) -> Launch<'a> {
        Launch { outputs, zeroed: false, grid: [64, 1, 1], group: [64, 1, 1], template: &[] }
    }

    #[track_caller]
    fn refused(result: Result<()>, words: &str) {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn a_source_within_bounds_is_let_through_and_others_are_named() {
        let source = |name, inputs: &[&str], outputs: &[&str], body: &str| {
            check_source(name, inputs, outputs, "", body)
        };
        source("double", &["x"], &["y"], "y[0] = x[0];").unwrap();
        source("constant", &[], &["y"], "y[0] = 1;").unwrap();
        refused(source("double", &["x"], &[], ""), "1 to 4 outputs");
        refused(source("double", &["x"; 9], &["y"], ""), "up to 8 inputs");
        refused(source("double", &["x", "x"], &["y"], ""), "two inputs or outputs are called `x`");
        refused(source("double", &["x"], &["x"], ""), "are called `x`");
        let long = "x".repeat(65);
        for name in ["", "2x", "x y", "x;int z", "größe", "x\0", &long] {
            refused(source(name, &["x"], &["y"], ""), "is no name");
            refused(source("double", &["x"], &[name], ""), "is no name");
        }
        refused(source("double", &["x"], &["y"], "y[0] = 0;\0"), "NUL");
        refused(source("double", &["x"], &["y"], &" ".repeat(SOURCE_BYTES + 1)), "32769 bytes");
    }

    #[test]
    fn a_launch_within_bounds_is_let_through_and_others_are_named() {
        let ordinary: &[(&[i32], Dtype)] = &[(&[2, 3, 64], Dtype::Float32), (&[], Dtype::Float16)];
        check_launch(&launch(ordinary)).unwrap();
        for shape in [&[0][..], &[-1], &[2, 0], &[1; 9], &[i32::MAX; 3]] {
            refused(check_launch(&launch(&[(shape, Dtype::Float32)])), "can't have an output of shape");
        }
        refused(check_launch(&launch(&[(&[1 << 30], Dtype::Float32)])), "4294967296 bytes");
        for grid in [[0, 1, 1], [1, -1, 1], [i32::MAX; 3]] {
            refused(check_launch(&Launch { grid, ..launch(ordinary) }), "a kernel's grid is");
        }
        for group in [[0, 1, 1], [1025, 1, 1], [32, 32, 2], [i32::MIN, i32::MIN, 1]] {
            refused(check_launch(&Launch { group, ..launch(ordinary) }), "a kernel's group is");
        }
        let template = [("N", Template::Int(3)), ("T x", Template::Bool(true))];
        refused(check_launch(&Launch { template: &template, ..launch(ordinary) }), "`T x` is no name");
        let many = [("N", Template::Int(3)); 17];
        refused(check_launch(&Launch { template: &many, ..launch(ordinary) }), "17 template arguments");
    }
}
