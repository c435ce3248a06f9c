//! One fine-tuning run.

use std::io;

use grader::host;
use trainer::data::Dataset;
use trainer::{Error, Trainer, compiled};
use trial_protocol::{CompiledFile, Go, Reply, TrialReport, TrialRequest};

use crate::supervisor::Supervisor;
use crate::{Stop, kernel, lock, plugin, setup};

/// Loads, warms up, waits for the seed, trains, and hands the adapters over.
pub(crate) fn run(request: &TrialRequest, supervisor: &mut Supervisor) -> Result<Reply, Stop> {
    lock(request.lock)?;
    let (name, build) = match &request.plugin {
        Some(plugin) => (plugin.kernel.clone(), Some(plugin::load(&plugin.path).map_err(kernel)?)),
        None => ("mlx-lm".to_owned(), None),
    };
    let explain = |error: Error| blame(&error, build.is_some());
    let training = &request.training;
    let data = Dataset::read_training(&training.data).map_err(explain)?;
    let mut trainer = Trainer::load(&request.model, training, &data, build).map_err(explain)?;
    trainer.warm_up(request.warm_up_seed).map_err(explain)?;
    return_memory();

    supervisor.reply(&Reply::Ready).map_err(Stop::Lost)?;
    let Go { seed } = supervisor.receive().map_err(Stop::Lost)?;
    let start = trainer.begin(seed, training.iterations).map_err(explain)?;
    let run = trainer.run(start).map_err(explain)?;
    let mut raw = Vec::new();
    for adapter in &run.adapters {
        raw.extend(host::bytes(adapter).map_err(|error| explain(error.into()))?);
    }
    supervisor.reply_with(&Reply::Trained { bytes: raw.len() as u64 }, &raw).map_err(Stop::Lost)?;
    if request.hand_over {
        hand_over(supervisor).map_err(Stop::Lost)?;
    }

    let kernel_calls = if build.is_some() { trainer.kernel_calls() } else { 0 };
    Ok(Reply::Trial(TrialReport {
        kernel: name,
        kernel_layers: trainer.kernel_layers(),
        kernel_calls,
        quantized_layers: trainer.quantized_layers(),
        seconds: run.seconds,
        losses: run.losses,
        peak_memory_bytes: run.peak_memory_bytes,
        active_memory_bytes: run.active_memory_bytes,
    }))
}

/// What MLX compiled in this process, for others to load.
fn hand_over(supervisor: &mut Supervisor) -> io::Result<()> {
    let (mut files, mut raw) = (Vec::new(), Vec::new());
    for (name, content) in compiled::made()? {
        files.push(CompiledFile { name, bytes: content.len() as u64 });
        raw.extend(content);
    }
    supervisor.reply_with(&Reply::Compiled { files }, &raw)
}

/// Gives back to the system what loading and warming up left behind, so that what the system sees of this process before
/// the start is what it needs.
fn return_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "std doesn't have it")]
    // SAFETY: has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Whose fault it is. MLX computes late, so what a kernel asked of it may fail far from the kernel: what MLX refuses in
/// a step is the plugin's fault if there is one. The harness's own layer shows in the same step if MLX itself is broken.
fn blame(error: &Error, has_plugin: bool) -> Stop {
    let detail = kernel_api::host::take_failure();
    let message = match detail {
        Some(detail) => format!("{error}: {detail}"),
        None => error.to_string(),
    };
    match error {
        Error::Kernel { .. } => kernel(message),
        Error::Mlx(_) if has_plugin => kernel(message),
        _ => setup(message),
    }
}
