//! `evolve calibrate`: how noisy this machine is.

use evaluator::history::History;
use evaluator::problem::{KernelProblem, Metric};
use evaluator::protocol::{self, Budget, detectable_effect};
use evaluator::trial::Exit;
use evaluator::{Job, Problem, Purpose, TrialRecord};
use search::token_hash;

use super::text::printable;
use super::{evaluate, open};
use crate::cli::{CalibrateArgs, Overrides};
use crate::config::Config;
use crate::exit_code::{ExitCode, Failure};
use crate::report::calibration::{Ambient, Calibration, Noise, warnings};

pub(super) async fn calibrate(arguments: &CalibrateArgs) -> Result<ExitCode, Failure> {
    let overrides = Overrides { no_sandbox: arguments.no_sandbox, ..Overrides::default() };
    let config = Config::read(&arguments.config, &overrides).map_err(Failure::usage)?;
    let calibration = measure(&config, arguments.trials).await?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&calibration).unwrap_or_default());
    } else {
        print!("{}", printable(&calibration.text()));
    }
    Ok(ExitCode::Success)
}

/// Runs the baseline so many times and says what the trials tell about the machine.
async fn measure(config: &Config, trials: u32) -> Result<Calibration, Failure> {
    let loaded = &config.problem;
    let Problem::Kernel(problem) = &loaded.problem else {
        let name = loaded.problem.name();
        return Err(Failure::usage(format!(
            "{name} is a command problem: its command measures by itself, so there is nothing to calibrate"
        )));
    };
    let evaluator = open::evaluator(config, History::default()).await?;
    let watcher = evaluate::watch(&evaluator);
    let device = evaluator.measured_by().device.clone();
    let kernel = token_hash(&loaded.initial, loaded.problem.language()).to_string();
    let purpose = Purpose::Calibrate { trials };
    let report = evaluator.evaluate(Job { id: 0, program: loaded.initial.clone(), kernel, purpose }).await;
    evaluator.shutdown().await;
    watcher.abort();
    let failed = |message: String| Failure { code: ExitCode::Evaluator, message };
    let report = report.map_err(|error| failed(error.to_string()))?;
    if report.outcome.measured().is_none() {
        return Err(failed(format!("the initial program can't be measured: {}", report.outcome)));
    }
    Ok(calibration(problem, device, &report.trials))
}

/// What the trials tell. Pure.
fn calibration(problem: &KernelProblem, device: Option<String>, trials: &[TrialRecord]) -> Calibration {
    let budget = Budget::of(&problem.protocol);
    let trials: Vec<&TrialRecord> = trials.iter().filter(|trial| trial.exit == Exit::Ok).collect();
    let mut metrics = Vec::new();
    let mut advice = String::new();
    for objective in &problem.objectives {
        let values = trials.iter().filter_map(|trial| match objective.metric {
            Metric::TokensPerSecond => trial.tokens_per_second,
            Metric::PeakMemoryBytes => trial.peak_memory_bytes.map(|bytes| bytes as f64),
        });
        let sign = if objective.metric.is_maximized() { 1.0 } else { -1.0 };
        let logs: Vec<f64> = values.map(|value| sign * value.ln()).collect();
        let Some(noise) = protocol::calibrate(&logs) else { continue };
        // Speed is the noisy one, and named first.
        if advice.is_empty() {
            advice = noise.advice(budget, objective.minimal_effect);
        }
        metrics.push(Noise {
            metric: objective.metric.as_str().to_owned(),
            sigma: noise.sigma,
            drift: noise.slope,
            drift_p: noise.slope_p_value,
            autocorrelation: noise.autocorrelation,
            detectable: detectable_effect(noise.sigma, budget, objective.minimal_effect),
        });
    }
    let budget = match budget {
        Budget::Blocks(trials) => format!("2 × {trials} trials"),
        Budget::Pairs(pairs) => format!("at most 3 trials and {pairs} pairs"),
    };
    Calibration {
        problem: problem.name.clone(),
        device,
        protocol: problem.protocol.name().to_owned(),
        budget,
        trials: trials.len() as u32,
        metrics,
        warnings: warnings(&ambient(&trials)),
        advice,
    }
}

fn ambient(trials: &[&TrialRecord]) -> Ambient {
    let seen: Vec<evaluator::ambient::Ambient> = trials.iter().map(|trial| trial.ambient).collect();
    let third = seen.len().div_ceil(3);
    let clocks = |part: &[evaluator::ambient::Ambient]| -> Vec<f64> {
        part.iter().filter_map(|ambient| ambient.frequency).collect()
    };
    let first = clocks(&seen[..third]).into_iter().reduce(f64::max);
    let last = clocks(&seen[seen.len() - third..]).into_iter().reduce(f64::min);
    Ambient {
        load_before: seen.first().and_then(|ambient| ambient.load),
        on_battery: seen.iter().filter_map(|ambient| ambient.on_battery).reduce(|one, other| one || other),
        frequency: first.zip(last),
        temperature: seen.iter().filter_map(|ambient| ambient.temperature).reduce(f64::max),
    }
}
