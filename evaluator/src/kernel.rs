//! Evaluates a kernel: gate, compile, check, trials, verdict.

mod check;
mod trials;

use std::collections::BTreeMap;
use std::sync::Arc;

use search::{Language, Outcome, Stage};

use crate::compile::{Compiled, Compiler};
use crate::device::Device;
use crate::gate::Gate;
use crate::harness;
use crate::job::Job;
use crate::launch::Launcher;
use crate::log::Log;
use crate::order::Tier;
use crate::problem::{KernelProblem, Metric};
use crate::protocol;
use crate::report::MeasuredBy;
use crate::runner::Runner;
use crate::scratch::Scratch;
use crate::statistics;
use crate::stop::Stop;
use crate::trial::{Arm, Exit, TrialRecord};
use crate::verdict;
use crate::wire::{Event, Hello};

use self::trials::Ending;

/// The name under which the initial program runs as the baseline.
const BASELINE: &str = "baseline";

/// Everything that all evaluations of one kernel problem share.
#[derive(Debug)]
pub(crate) struct KernelEvaluator {
    problem: KernelProblem,
    initial: String,
    gate: Gate,
    compiler: Compiler,
    runner: Runner,
    device: Device,
    baseline: Arc<Compiled>,
    pub(crate) measured_by: MeasuredBy,
}

impl KernelEvaluator {
    /// Finds the harness and compiles the baseline, so that later compiler errors are the candidates' own.
    pub(crate) async fn prepare(
        hello: &Hello,
        problem: KernelProblem,
        launcher: Launcher,
        scratch: Arc<Scratch>,
    ) -> Result<Self, Stop> {
        let harness =
            harness::read(hello.harness.as_deref()).map_err(|error| Stop::Broken(error.to_string()))?;
        let initial = hello.problem.initial.clone();
        let path = problem.initial_program.display();
        let gate =
            Gate::new(&initial, Language::Rust, problem.limits.program_bytes, true).map_err(|refusal| {
                let line = refusal.line.map(|line| format!(":{line}")).unwrap_or_default();
                Stop::Broken(format!("{path}{line}: the initial program is refused itself: {refusal}"))
            })?;
        let protocol = protocol::for_problem(&problem, false);
        let measured_by = MeasuredBy {
            evaluator: env!("CARGO_PKG_VERSION").to_owned(),
            harness: Some(harness.description.harness.clone()),
            mlx: Some(harness.description.mlx.clone()),
            backend: Some(harness.description.backend.clone()),
            device: Some(harness.description.device.clone()),
            sandbox: Tier::None,
            protocol: protocol.name().to_owned(),
            parameters: protocol.parameters(),
        };
        let compiler = Compiler::new(
            harness.clone(),
            launcher.clone(),
            scratch.clone(),
            hello.path.clone(),
            problem.limits.clone(),
        );
        let baseline = compiler.compile(&initial, BASELINE).await?.map_err(|(_, artifact)| {
            Stop::Broken(format!(
                "{path}: the initial program doesn't compile; correct it, or run `make mlx` again if the compiler \
                 complains of the kernel API:\n{}",
                artifact.content
            ))
        })?;
        let memory_bytes = problem.limits.memory_bytes;
        let runner = Runner::new(
            harness,
            launcher,
            scratch,
            hello.path.clone(),
            hello.model_cache.clone(),
            memory_bytes,
        );
        let device = Device::new(hello.builds, hello.device_lock.clone());
        Ok(Self { problem, initial, gate, compiler, runner, device, baseline, measured_by })
    }

    /// The whole way of one candidate.
    pub(crate) async fn evaluate(&self, job: &Job, log: &mut Log) -> Result<Outcome, Stop> {
        self.gate.pass(&job.program).map_err(Outcome::from)?;
        let candidate = self.compile(job, log).await?;
        self.check(&candidate, log).await?;
        self.measure(job, &candidate, log).await
    }

    async fn compile(&self, job: &Job, log: &mut Log) -> Result<Arc<Compiled>, Stop> {
        let _building = self.device.build().await?;
        log.event(Event::Entered { stage: Stage::Compile });
        self.compiler.compile(&job.program, &job.kernel).await?.map_err(|(outcome, artifact)| {
            log.artifacts.push(artifact);
            Stop::Outcome(outcome)
        })
    }

    /// Runs whatever trials the protocol asks for, then judges.
    async fn measure(&self, job: &Job, candidate: &Compiled, log: &mut Log) -> Result<Outcome, Stop> {
        let is_baseline = job.program == self.initial;
        let mut protocol = protocol::for_problem(&self.problem, is_baseline);
        let judgement = match self.run_trials(protocol.as_mut(), candidate, log).await? {
            Ending::Judged(judgement) => judgement,
            Ending::Aborted { arm: Arm::Candidate, failure } => return Ok(failure),
            Ending::Aborted { arm: Arm::Baseline, failure } => {
                let failure = match failure {
                    Outcome::Crash { message, .. } => message,
                    other => other.to_string(),
                };
                return Err(Stop::Broken(format!(
                    "the baseline itself can't be measured; the problem's model, training settings or limits don't \
                     fit this machine, see `evolve doctor`: {failure}"
                )));
            }
        };
        let arm = if is_baseline { Arm::Baseline } else { Arm::Candidate };
        let metrics = means(&log.trials, arm);
        Ok(verdict::outcome(judgement, &self.problem.objectives, metrics, is_baseline))
    }
}

/// One number of a record, where it has it.
type Column = fn(&TrialRecord) -> Option<f64>;

/// Means over an arm's successful trials.
fn means(trials: &[TrialRecord], arm: Arm) -> BTreeMap<String, f64> {
    let trials: Vec<_> = trials.iter().filter(|trial| trial.arm == arm && trial.exit == Exit::Ok).collect();
    let columns: [(&str, Column); 6] = [
        (Metric::TokensPerSecond.as_str(), |trial| trial.tokens_per_second),
        (Metric::PeakMemoryBytes.as_str(), |trial| trial.peak_memory_bytes.map(|bytes| bytes as f64)),
        ("process_peak_bytes", |trial| trial.process_peak_bytes.map(|bytes| bytes as f64)),
        ("wall_seconds", |trial| trial.wall_seconds),
        ("train_loss", |trial| trial.train_loss),
        ("validation_loss", |trial| trial.validation_loss),
    ];
    let mut means = BTreeMap::new();
    for (name, column) in columns {
        let values: Vec<f64> = trials.iter().filter_map(|trial| column(trial)).collect();
        if let Some(mean) = statistics::mean(&values).filter(|mean| mean.is_finite()) {
            means.insert(name.to_owned(), mean);
        }
    }
    means
}
