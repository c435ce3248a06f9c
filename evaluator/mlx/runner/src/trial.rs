//! One fine-tuning run.

use trainer::{Error, Trainer};
use trial_protocol::{Reply, TrialReport, TrialRequest};

use crate::supervisor::Supervisor;
use crate::{Stop, kernel, plugin, setup};

/// Loads, warms up, waits for the start signal, trains and validates.
pub(crate) fn run(request: &TrialRequest, supervisor: &mut Supervisor) -> Result<TrialReport, Stop> {
    let (name, build) = match &request.plugin {
        Some(plugin) => (plugin.kernel.clone(), Some(plugin::load(&plugin.path).map_err(kernel)?)),
        None => ("mlx-lm".to_owned(), None),
    };
    let explain = |error: Error| blame(&error, build.is_some());
    let mut trainer =
        Trainer::load(&request.model, &request.training, request.seed, build).map_err(explain)?;
    trainer.warm_up().map_err(explain)?;
    let calls_before = trainer.kernel_calls();

    supervisor.wait_for_start().map_err(Stop::Lost)?;
    let run = trainer.run().map_err(explain)?;
    supervisor.reply(&Reply::Trained).map_err(Stop::Lost)?;
    let kernel_calls = if build.is_some() { trainer.kernel_calls() - calls_before } else { 0 };
    let validation_loss = trainer.validation_loss().map_err(explain)?;
    Ok(TrialReport {
        kernel: name,
        kernel_layers: trainer.kernel_layers(),
        kernel_calls,
        quantized_layers: trainer.quantized_layers(),
        tokens: run.tokens,
        seconds: run.seconds,
        losses: run.losses,
        validation_loss,
        peak_memory_bytes: run.peak_memory_bytes,
        active_memory_bytes: run.active_memory_bytes,
    })
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
