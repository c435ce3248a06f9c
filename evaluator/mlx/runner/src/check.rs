//! A kernel's answers to challenges: what it computes, as bytes. Whether that is right, nobody here knows.

use std::fmt::Display;

use grader::challenge::{Inputs, Material, describe, forward, gradients};
use grader::host;
use kernel_api::Layer;
use kernel_api::host::Together;
use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, Dtype};
use trainer::BuildKernel;
use trial_protocol::{AnswerLayout, Challenge, CheckCase, CheckRequest, Reply};

use crate::supervisor::Supervisor;
use crate::{Stop, kernel, lock, plugin, setup};

/// Answers challenges until there are no more, which ends the process.
pub(crate) fn run(request: &CheckRequest, supervisor: &mut Supervisor) -> std::result::Result<Reply, Stop> {
    lock(request.lock)?;
    let build = plugin::load(&request.plugin.path).map_err(kernel)?;
    supervisor.reply(&Reply::Ready).map_err(Stop::Lost)?;
    loop {
        let challenge: Challenge = supervisor.receive().map_err(Stop::Lost)?;
        let raw = answer(build, &challenge)?;
        supervisor.reply_with(&Reply::Answer { bytes: raw.len() as u64 }, &raw).map_err(Stop::Lost)?;
    }
}

/// The arrays of [`AnswerLayout`], end to end.
fn answer(build: BuildKernel, challenge: &Challenge) -> std::result::Result<Vec<u8>, Stop> {
    let case = &challenge.case;
    let material = Material::new(challenge)
        .map_err(|error| setup(format!("check case {}: {}", describe(case), error.what())))?;
    let blame = |error: &dyn Display| {
        let detail = kernel_api::host::take_failure().map(|detail| format!(": {detail}")).unwrap_or_default();
        kernel(format!("check case {}: {error}{detail}", describe(case)))
    };
    let mut model = Model::build(build, &material, challenge.companions).map_err(|error| blame(&error))?;
    let inputs = material.arrays(&material.first);
    let raw =
        calls(&mut model, &material, &inputs, challenge.idle_calls).map_err(|error| blame(&error.what()))?;
    debug_assert_eq!(raw.len(), AnswerLayout::of(case).bytes());
    Ok(raw)
}

/// The kernel under test, or the group of them, among others, as in a model: made one after the other before the first call, and called
/// in turn.
struct Model<'a> {
    layers: &'a [Layer],
    kernel: Together,
    companions: Vec<Together>,
}

/// So many companions are called before each call of the kernel.
const CALLED: usize = 2;

impl<'a> Model<'a> {
    fn build(build: BuildKernel, material: &'a Material, companions: u32) -> kernel_api::Result<Self> {
        let many =
            |count: u32| (0..count).map(|_| material.together(build)).collect::<kernel_api::Result<Vec<_>>>();
        let mut others = many(companions / 2)?;
        let kernel = material.together(build)?;
        others.extend(many(companions.div_ceil(2))?);
        Ok(Self { layers: &material.layers, kernel, companions: others })
    }

    /// Some companions' turn. Nobody asks for their results, so they stay uncomputed.
    fn call_others(&mut self, inputs: &[Array]) -> Result<()> {
        let called = self.companions.len().min(CALLED);
        for companion in &self.companions[..called] {
            forward(companion, inputs, self.layers)?;
        }
        self.companions.rotate_left(called);
        Ok(())
    }

    fn forward(&mut self, inputs: &[Array]) -> Result<Vec<Array>> {
        self.call_others(inputs)?;
        forward(&self.kernel, inputs, self.layers)
    }

    fn gradients(&mut self, inputs: &[Array], cotangents: &[Array]) -> Result<(Vec<Array>, Vec<Array>)> {
        self.call_others(inputs)?;
        gradients(&self.kernel, inputs, self.layers, cotangents)
    }
}

/// Forward on the first values; forward and gradients on the second, in the same memory; forward again. `idle` calls on the first
/// values lie between them, so that what is kept of a call before is out of date in the one that counts.
fn calls(model: &mut Model<'_>, material: &Material, inputs: &[Array], idle: u32) -> Result<Vec<u8>> {
    let cotangents = material.cotangents();
    let mut raw = Vec::with_capacity(AnswerLayout::of(material.case()).bytes());
    let add = |raw: &mut Vec<u8>, arrays: &[Array]| -> Result<()> {
        arrays.iter().try_for_each(|array| host::bytes(array).map(|bytes| raw.extend(bytes)))
    };

    poison(material.case());
    add(&mut raw, &model.forward(inputs)?)?;

    for _ in 0..idle {
        model.gradients(inputs, &cotangents)?;
    }
    change(inputs, &material.second)?;
    poison(material.case());
    let (results, gradients) = model.gradients(inputs, &cotangents)?;
    add(&mut raw, &results)?;
    add(&mut raw, &gradients)?;
    drop((results, gradients));

    poison(material.case());
    add(&mut raw, &model.forward(inputs)?)?;
    for input in inputs {
        raw.extend(memory(input)?);
    }
    Ok(raw)
}

/// Gives the arrays other values without making others of them.
fn change(arrays: &[Array], inputs: &Inputs) -> Result<()> {
    // What the kernel left to be computed was computed, or would see the new values.
    synchronize()?;
    for (array, bytes) in arrays.iter().zip(inputs.all()) {
        #[expect(unsafe_code, reason = "an input that changes where it lies is what this is about")]
        // SAFETY: these arrays were made of bytes, and MLX was just waited for.
        unsafe {
            host::overwrite(array, bytes);
        }
    }
    Ok(())
}

/// An input as it is now, by a look into its memory.
fn memory(array: &Array) -> Result<&[u8]> {
    synchronize()?;
    #[expect(unsafe_code, reason = "a copy by MLX would not be what lies there")]
    // SAFETY: made of bytes, so evaluated and row-major; nothing writes to it while this is read.
    unsafe { host::memory(array) }.ok_or_else(|| Exception::custom("an input without memory"))
}

/// Waits until MLX has nothing left to compute.
fn synchronize() -> Result<()> {
    #[expect(unsafe_code, reason = "mlx-rs doesn't wrap this")]
    // SAFETY: the stream is a valid handle while `stream` lives.
    let status = unsafe {
        mlx_sys::mlx_synchronize(
            mlx_rs::Stream::try_default_on_device(&mlx_rs::Device::try_default()?)?.as_ptr(),
        )
    };
    if status == 0 { Ok(()) } else { Err(Exception::custom("MLX couldn't finish what it was computing")) }
}

/// Leaves NaN in the memory that MLX will hand out next, in pieces of the sizes that this case needs. A kernel that
/// doesn't write what it returns returns these.
fn poison(case: &CheckCase) {
    let mut pieces = Vec::new();
    for CheckCase { batch, length, input, output, rank, dtype, .. } in case.layers() {
        let rows = batch * length;
        let elements =
            [rows * output, rows * input, rows * rank, input * rank, rank * output, output * input, output];
        let item = dtype.bytes() as i32;
        for elements in elements {
            for bytes in [elements * 4, elements * item] {
                // Large pieces come from the system anyway, where there is nothing to find.
                let count = if bytes < 1 << 20 { 3 } else { 1 };
                // All bits set is NaN in every type.
                let filled = vec![0xff; bytes as usize];
                pieces.extend((0..count).map(|_| host::array(&filled, &[bytes], Dtype::Uint8)));
            }
        }
    }
    drop(pieces);
}
