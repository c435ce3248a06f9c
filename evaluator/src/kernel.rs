//! Evaluates a kernel: gate, compile, check, canary, trials with a judge after each, verdict.
//!
//! Whatever decides comes from here or from the grader: the clock, the seeds, the challenges, the comparisons, the tokens, the
//! loss. The candidate's process only ever returns bytes.

mod canary;
mod check;
mod judge;
mod standing;
mod trials;
mod warm;

use std::collections::BTreeMap;
use std::sync::Arc;

use search::{Language, Measured, Outcome, Score, Stage, Verdict};
use tempfile::TempDir;
use tokio::sync::Mutex;
use trial_protocol::{CheckCase, Harness, PrepareRequest, Prepared, Training};

use crate::challenge;
use crate::compile::{Build, Compiled, Compiler};
use crate::confine::Confine;
use crate::device::Device;
use crate::gate::Gate;
use crate::gpu::Gpu;
use crate::grader::{Grader, GraderOptions};
use crate::harness;
use crate::initial_kernels::InitialKernels;
use crate::job::{Job, Purpose};
use crate::launch::Launcher;
use crate::log::Log;
use crate::order::Tier;
use crate::problem::{KernelProblem, Metric};
use crate::protocol::{self, Protocol};
use crate::report::MeasuredBy;
use crate::runner::{Fault, Runner};
use crate::scratch::{Scratch, write_shared};
use crate::secret::{Secret, fresh_seed};
use crate::statistics;
use crate::stop::Stop;
use crate::trial::{Arm, Exit, TrialRecord};
use crate::verdict;
use crate::wire::{Event, Hello};

use self::standing::Standing;
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
    grader: Grader,
    prepared: Prepared,
    /// As the runner gets it: with a folder that has nothing but the texts to train on.
    training: Training,
    _texts: TempDir,
    /// The problem's layers to check on, and the model's own.
    announced: Vec<CheckCase>,
    device: Device,
    baseline: Arc<Compiled>,
    /// The program of the latest comparison, which passed check and canary.
    compared: Mutex<Option<(String, Arc<Compiled>)>>,
    /// Where the run stands.
    standing: Mutex<Standing>,
    pub(crate) measured_by: MeasuredBy,
}

impl KernelEvaluator {
    /// Finds the harness, starts the grader, and proves with the baseline that compiling, checking and judging work, so that
    /// later failures are the candidates' own.
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
        let confine = Confine { sandbox: hello.sandbox };
        let compiler = Compiler::prepare(
            harness.clone(),
            launcher.clone(),
            scratch.clone(),
            hello.path.clone(),
            problem.limits.clone(),
            confine,
        )
        .await?;
        let baseline = compiler.compile(&initial, BASELINE, Build::Faithful).await?;
        let baseline = baseline.map_err(|(_, artifact)| {
            Stop::Broken(format!(
                "{path}: the initial program doesn't compile; correct it, or run `make mlx` again if the compiler \
                 complains of the kernel API:\n{}",
                artifact.content
            ))
        })?;
        let protocol = protocol::for_problem(&problem);
        let measured_by = measured_by(&harness, baseline.tier, protocol.as_ref());
        let request = PrepareRequest {
            model: problem.model.clone(),
            training: problem.training.clone(),
            error_budget: problem.checks.error_budget,
        };
        let options = GraderOptions {
            harness: harness.clone(),
            launcher: launcher.clone(),
            scratch: scratch.clone(),
            path: hello.path.clone(),
            model_cache: hello.model_cache.clone(),
            confine,
        };
        let (grader, prepared, texts) = Grader::prepare(options, request).await?;
        if prepared.quantized_layers == 0 {
            let error = "the model has no quantized layers, so there is nothing for a quantized kernel to do; name a \
                         quantized model in problem.yaml";
            return Err(Stop::Broken(error.to_owned()));
        }
        let folder = scratch.shared_folder("texts")?;
        write_shared(&folder.path().join("train.jsonl"), &texts)?;
        let training = Training { data: folder.path().to_owned(), ..problem.training.clone() };
        let mut read = prepared.files.clone();
        read.push(folder.path().to_owned());
        let path = hello.path.clone();
        let memory_bytes = problem.limits.memory_bytes;
        let gpu = Gpu::find(&harness.description.backend);
        let runner = Runner {
            harness,
            launcher,
            scratch,
            path,
            memory_bytes,
            confine,
            gpu,
            read,
            initial: InitialKernels::default(),
        };
        let mut announced = [problem.checks.cases.as_slice(), &prepared.cases].concat();
        for case in &mut announced {
            case.adapter = problem.training.fine_tune_type;
        }
        if warm::warm(&runner, &announced, (prepared.model.clone(), training.clone())).await? {
            grader.renew().await?;
        }
        let evaluator = Self {
            device: Device::new(hello.builds, hello.device_lock.clone()),
            standing: Mutex::new(Standing::new(&problem, hello.history.clone())?),
            _texts: folder,
            problem,
            initial,
            gate,
            compiler,
            runner,
            grader,
            prepared,
            training,
            announced,
            baseline,
            compared: Mutex::default(),
            measured_by,
        };
        evaluator.prove().await?;
        Ok(evaluator)
    }

    /// The whole way of one candidate.
    pub(crate) async fn evaluate(&self, job: &Job, log: &mut Log) -> Result<Outcome, Stop> {
        self.gate.pass(&job.program).map_err(Outcome::from)?;
        let secret = Secret::draw()?;
        let candidate = self.build(job, &secret, log).await?;
        match job.purpose {
            Purpose::Search => self.measure(job, &candidate, &secret, log).await,
            Purpose::Screen => {
                let failure = self.run_screening(&candidate, &secret, log).await?;
                failure.map_or_else(|| passed("screened: passes every fence; nothing was compared", log), Ok)
            }
            Purpose::Compare { opponent } => {
                let ending = self.run_comparison(opponent, &candidate, &secret, log).await?;
                Self::outcome(ending, &log.trials, Arm::Candidate)
            }
            Purpose::Calibrate { trials } => {
                let failure = self.run_calibration(trials, &candidate, &secret, log).await?;
                failure.map_or_else(|| passed("calibrated: measured against nothing", log), Ok)
            }
        }
    }

    /// Compiled and examined. A final report compares one program with several opponents, and is examined once: on a GPU that takes
    /// as long as the pairs.
    async fn build(&self, job: &Job, secret: &Secret, log: &mut Log) -> Result<Arc<Compiled>, Stop> {
        let is_comparison = matches!(job.purpose, Purpose::Compare { .. });
        if is_comparison
            && let Some((program, built)) = self.compared.lock().await.as_ref()
            && *program == job.program
            && built.plugin.kernel == job.kernel
        {
            return Ok(Arc::clone(built));
        }
        let candidate = self.compile(job, log).await?;
        self.examine(job, &candidate, secret, log).await?;
        if is_comparison {
            *self.compared.lock().await = Some((job.program.clone(), Arc::clone(&candidate)));
        }
        Ok(candidate)
    }

    async fn compile(&self, job: &Job, log: &mut Log) -> Result<Arc<Compiled>, Stop> {
        let _building = self.device.build().await?;
        log.event(Event::Entered { stage: Stage::Compile });
        let compiled = self.compiler.compile(&job.program, &job.kernel, Build::Faithful).await?;
        compiled.map_err(|(outcome, artifact)| {
            log.artifacts.push(artifact);
            Stop::Outcome(outcome)
        })
    }

    /// Check and canary.
    async fn examine(
        &self,
        job: &Job,
        candidate: &Compiled,
        secret: &Secret,
        log: &mut Log,
    ) -> Result<(), Stop> {
        let _building = self.device.build().await?;
        log.event(Event::Entered { stage: Stage::Check });
        let mut rng = secret.generator();
        self.check(candidate, &mut rng, log).await?;
        self.canary(job, &mut rng, log).await
    }

    /// Runs whatever trials the run's protocol asks for, then judges.
    async fn measure(
        &self,
        job: &Job,
        candidate: &Arc<Compiled>,
        secret: &Secret,
        log: &mut Log,
    ) -> Result<Outcome, Stop> {
        let ending = self.run_protocol(job, candidate, secret, log).await?;
        let is_baseline = job.program == self.initial;
        let ran_candidate = log.trials.iter().any(|trial| trial.arm == Arm::Candidate);
        let arm = match (is_baseline && !ran_candidate, log.trials.first()) {
            (true, Some(first)) => first.arm,
            _ => Arm::Candidate,
        };
        Self::outcome(ending, &log.trials, arm)
    }

    /// What the trials came to. `arm` is whose means are the program's metrics.
    fn outcome(ending: Ending, trials: &[TrialRecord], arm: Arm) -> Result<Outcome, Stop> {
        match ending {
            Ending::Judged(judgement) => Ok(verdict::outcome(*judgement, means(trials, arm))),
            Ending::Aborted { arm: Arm::Candidate, failure } => Ok(failure),
            Ending::Aborted { failure, .. } => Err(unmeasurable(&failure)),
        }
    }

    /// What a fault means for the candidate. What the runner says of model, data and settings is only believed if the
    /// baseline fails too.
    async fn blame(&self, fault: Fault, stage: Stage) -> Result<Outcome, Stop> {
        let Fault::Setup(message) = fault else { return Ok(self.failure(fault, stage)) };
        let mut rng = Secret::draw()?.generator();
        let baseline = match stage {
            Stage::Trial => {
                let _building = self.device.build().await?;
                let training = Training { iterations: 1, ..self.training.clone() };
                let (seed, warm_up_seed) = (fresh_seed(&mut rng), fresh_seed(&mut rng));
                self.train(Some(&self.baseline), training, seed, warm_up_seed).await?.result.err()
            }
            _ => {
                let challenges = challenge::draw_few(&self.announced, &mut rng);
                self.compare(&self.baseline, &challenges).await?.result.err()
            }
        };
        match baseline {
            Some(fault) => Err(Stop::Broken(format!("{message} (and so with the baseline: {fault})"))),
            None => Ok(Outcome::Crash { stage, message }),
        }
    }

    /// What a fault means for the candidate.
    fn failure(&self, fault: Fault, stage: Stage) -> Outcome {
        let limits = &self.problem.limits;
        match fault {
            Fault::Kernel(message) | Fault::Setup(message) | Fault::Crashed(message) => {
                Outcome::Crash { stage, message }
            }
            Fault::Forbidden(message) => Outcome::Rejected { reason: format!("sandbox: {message}") },
            Fault::Killed => {
                let message =
                    "the trial runner was killed from outside, twice; perhaps the machine lacks memory";
                Outcome::Crash { stage, message: message.to_owned() }
            }
            Fault::Timeout => {
                let seconds = if stage == Stage::Check { limits.check_seconds } else { limits.trial_seconds };
                Outcome::Timeout { stage, limit_seconds: seconds }
            }
            Fault::Memory => Outcome::OutOfMemory { stage, limit_bytes: limits.memory_bytes },
        }
    }
}

fn measured_by(harness: &Harness, sandbox: Tier, protocol: &dyn Protocol) -> MeasuredBy {
    let description = &harness.description;
    MeasuredBy {
        evaluator: env!("CARGO_PKG_VERSION").to_owned(),
        harness: Some(description.harness.clone()),
        mlx: Some(description.mlx.clone()),
        backend: Some(description.backend.clone()),
        device: Some(description.device.clone()),
        sandbox,
        protocol: protocol.name().to_owned(),
        parameters: protocol.parameters(),
    }
}

/// The baseline is ours, and so are its failures.
fn unmeasurable(failure: &Outcome) -> Stop {
    let words = match failure {
        Outcome::Crash { message, .. } => message.clone(),
        other => other.to_string(),
    };
    Stop::Broken(format!(
        "the baseline itself can't be measured; the problem's initial program, model, training settings or limits don't fit \
         this machine, see `evolve doctor`: {words}"
    ))
}

/// A program that passed without being compared with anything.
fn passed(reason: &str, log: &Log) -> Result<Outcome, Stop> {
    let score = Score::new(1.0).map_err(|error| Stop::Broken(error.to_string()))?;
    Ok(Outcome::Measured(Measured {
        score,
        verdict: Verdict::Inconclusive,
        metrics: means(&log.trials, Arm::Candidate),
        effects: Vec::new(),
        reason: reason.to_owned(),
        score_error: None,
    }))
}

/// One number of a record, where it has it.
type Column = fn(&TrialRecord) -> Option<f64>;

/// Means over an arm's successful trials.
fn means(trials: &[TrialRecord], arm: Arm) -> BTreeMap<String, f64> {
    let trials: Vec<_> = trials.iter().filter(|trial| trial.arm == arm && trial.exit == Exit::Ok).collect();
    let columns: [(&str, Column); 9] = [
        (Metric::TokensPerSecond.as_str(), |trial| trial.tokens_per_second),
        (Metric::PeakMemoryBytes.as_str(), |trial| trial.peak_memory_bytes.map(|bytes| bytes as f64)),
        ("process_peak_bytes", |trial| trial.process_peak_bytes.map(|bytes| bytes as f64)),
        ("wall_seconds", |trial| trial.wall_seconds),
        ("train_loss", |trial| trial.train_loss),
        ("validation_loss", |trial| trial.validation_loss),
        (trials::OUTSIDE_PEAK, |trial| trial.metrics.get(trials::OUTSIDE_PEAK).copied()),
        (trials::DEVICE_PEAK, |trial| trial.metrics.get(trials::DEVICE_PEAK).copied()),
        (trials::DEVIATION, |trial| trial.metrics.get(trials::DEVIATION).copied()),
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
