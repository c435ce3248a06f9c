//! Runs the trials a protocol asks for, and has each one judged before it counts.

use std::sync::Arc;

use search::{Outcome, Stage};
use trial_protocol::{AdapterKind, Training, TrialGrade, TrialRequest};

use super::judge::{self, Evidence, Objection};
use super::standing::{Drawn, Standing};
use super::{KernelEvaluator, unmeasurable};
use crate::compile::{Build, Compiled};
use crate::device::Series;
use crate::footprint::{self, Footprint};
use crate::job::{Job, Opponent};
use crate::log::{Log, now};
use crate::protocol::{
    self, Candidate, Chance as _, Decision, Final, Judgement, Plan, Protocol, Sample, Step, TrialResult,
};
use crate::runner::{Answer, Fault, Trained};
use crate::secret::{Secret, fresh_seed};
use crate::stop::Stop;
use crate::trial::{Arm, Exit, TrialRecord};
use crate::wire::Event;

/// Names of metrics of a trial that are looked at again.
pub(super) const OUTSIDE_PEAK: &str = "outside_peak_bytes";
/// Most memory in use on the GPU during the measured steps, whoever used it, by its driver.
pub(super) const DEVICE_PEAK: &str = "device_peak_bytes";
pub(super) const DEVIATION: &str = "deviation";

/// A decision, with the failure that led to it.
pub(super) enum Ending {
    Judged(Box<Judgement>),
    Aborted { arm: Arm, failure: Outcome },
}

/// A trial that has run and is not judged yet.
struct Attempt {
    record: TrialRecord,
    answer: Answer,
}

/// One trial to run.
#[derive(Clone, Copy)]
struct Trial<'a> {
    plan: &'a Plan,
    /// None is MLX-LM's own layer.
    kernel: Option<&'a Compiled>,
}

/// Who decides what is run.
struct Asked<'a> {
    protocol: &'a mut dyn Protocol,
    /// Whether it is the run's own, whose trials are numbered.
    is_run: bool,
}

/// Who runs in which arm. All arms without a kernel of their own are the baseline's.
struct Arms<'a> {
    candidate: &'a Compiled,
    reference: Arc<Compiled>,
    /// Whether the reference is a program of the search, and not the baseline.
    is_promoted: bool,
}

impl KernelEvaluator {
    /// Trial after trial until the run's protocol has decided on a candidate. The device is ours for that long; builds of
    /// others, and the judge, run between the trials.
    pub(super) async fn run_protocol(
        &self,
        job: &Job,
        candidate: &Arc<Compiled>,
        secret: &Secret,
        log: &mut Log,
    ) -> Result<Ending, Stop> {
        let series = self.device.series().await;
        let mut standing = self.standing.lock().await;
        log.event(Event::Entered { stage: Stage::Trial });
        let is_baseline = job.program == self.initial;
        let mut protocol =
            standing.begin(&self.problem, Candidate { program: job.kernel.clone(), is_baseline })?;
        let arms = self.arms(&mut standing, protocol.incumbent(), candidate).await?;
        let asked = Asked { protocol: protocol.as_mut(), is_run: true };
        let ending = self.run_trials(&series, &mut standing, asked, &arms, secret, log).await?;
        standing.keep(protocol, job, is_baseline, candidate, &log.trials, log.decision.as_ref());
        Ok(ending)
    }

    /// Fresh pairs of a champion and an opponent, which the run's protocol doesn't hear of.
    pub(super) async fn run_comparison(
        &self,
        opponent: Opponent,
        champion: &Compiled,
        secret: &Secret,
        log: &mut Log,
    ) -> Result<Ending, Stop> {
        let series = self.device.series().await;
        let mut standing = self.standing.lock().await;
        log.event(Event::Entered { stage: Stage::Trial });
        let arms = Arms { candidate: champion, reference: Arc::clone(&self.baseline), is_promoted: false };
        let mut pairs = Final::new(
            opponent.arm(),
            Final::PAIRS,
            self.problem.objectives.clone(),
            self.problem.constraints.loss,
        );
        let asked = Asked { protocol: &mut pairs, is_run: false };
        self.run_trials(&series, &mut standing, asked, &arms, secret, log).await
    }

    /// The same program again and again.
    pub(super) async fn run_calibration(
        &self,
        trials: u32,
        candidate: &Compiled,
        secret: &Secret,
        log: &mut Log,
    ) -> Result<Option<Outcome>, Stop> {
        let series = self.device.series().await;
        log.event(Event::Entered { stage: Stage::Trial });
        let mut chance = Drawn(secret.generator());
        for index in 0..trials {
            let plan = unpaired(protocol::Stage::Calibration, Arm::Candidate, chance.seed(), index, trials);
            if let Err(failure) = self.run_unpaired(&series, plan, candidate, &mut chance, log).await? {
                return self.trial_failure(failure).await.map(Some);
            }
        }
        Ok(None)
    }

    /// What the reference's trials run, built if need be.
    async fn arms<'a>(
        &self,
        standing: &mut Standing,
        incumbent: Option<&str>,
        candidate: &'a Compiled,
    ) -> Result<Arms<'a>, Stop> {
        let reference = match standing.incumbent(incumbent)? {
            None => return Ok(Arms { candidate, reference: Arc::clone(&self.baseline), is_promoted: false }),
            Some(Ok(built)) => built,
            Some(Err(incumbent)) => {
                let _building = self.device.build().await?;
                let built =
                    self.compiler.compile(&incumbent.program, &incumbent.kernel, Build::Faithful).await?;
                let built = built.map_err(|(outcome, _)| {
                    Stop::Broken(format!("the run's best program doesn't compile any more: {outcome}"))
                })?;
                standing.set_built(incumbent.kernel, Arc::clone(&built));
                built
            }
        };
        Ok(Arms { candidate, reference, is_promoted: true })
    }

    /// Runs what a protocol asks for, to its decision.
    async fn run_trials(
        &self,
        series: &Series<'_>,
        standing: &mut Standing,
        asked: Asked<'_>,
        arms: &Arms<'_>,
        secret: &Secret,
        log: &mut Log,
    ) -> Result<Ending, Stop> {
        let Asked { protocol, is_run } = asked;
        let mut chance = Drawn(secret.generator());
        let mut failures: Vec<(Arm, Outcome)> = Vec::new();
        loop {
            let plan = match protocol.next(&mut chance) {
                Step::Run(plan) => plan,
                Step::Done(decision) => {
                    log.decision = Some(decision.clone());
                    return Ok(match decision {
                        Decision::Judged(judgement) => Ending::Judged(judgement),
                        Decision::Aborted { arm, .. } => {
                            let failure = failures.into_iter().rev().find(|(failed, _)| *failed == arm);
                            let unknown =
                                || Outcome::Rejected { reason: format!("too few {arm} trials succeeded") };
                            Ending::Aborted { arm, failure: failure.map_or_else(unknown, |pair| pair.1) }
                        }
                    });
                }
            };
            let kernel = match plan.arm {
                Arm::Baseline => Some(self.baseline.as_ref()),
                Arm::Candidate => Some(arms.candidate),
                Arm::Reference => Some(arms.reference.as_ref()),
                Arm::MlxLm | Arm::PlainLora => None,
            };
            let number = is_run.then(|| standing.number());
            let trial = Trial { plan: &plan, kernel };
            let mut result = self.run_trial(series, trial, number, log).await?;
            if result.is_ok() {
                match self.look_for_hidden_memory(series, standing, arms, plan.arm, log).await? {
                    None => {}
                    Some(reason) => result = Err(Self::forged(reason, log)),
                }
            }
            let failure = match result {
                Ok(sample) => {
                    protocol.tell(number.unwrap_or_default(), TrialResult::Ok(sample));
                    continue;
                }
                Err(failure) => failure,
            };
            // A crash or a doubt in one trial of many may be chance. This is none.
            if plan.arm == Arm::Candidate && failure.is_foul() {
                let failure = self.trial_failure(failure).await?;
                return Ok(Ending::Aborted { arm: plan.arm, failure });
            }
            protocol.tell(number.unwrap_or_default(), TrialResult::Failed);
            failures.push((plan.arm, self.trial_failure(failure).await?));
        }
    }

    /// Compares the latest trial, if it is a candidate's, with the baseline's, and remembers the baseline's. A GPU with memory of
    /// its own keeps it out of the operating system's sight.
    async fn look_for_hidden_memory(
        &self,
        series: &Series<'_>,
        standing: &mut Standing,
        arms: &Arms<'_>,
        arm: Arm,
        log: &Log,
    ) -> Result<Option<String>, Stop> {
        if self.runner.harness.description.backend == "cuda" {
            return Ok(None);
        }
        let Some(footprint) = log.trials.last().and_then(weighed) else { return Ok(None) };
        match arm {
            Arm::Baseline => standing.remember(footprint),
            Arm::Reference if !arms.is_promoted => standing.remember(footprint),
            Arm::Candidate => {
                if standing.footprints.is_empty()
                    && let Some(baseline) = self.weigh_baseline(series).await?
                {
                    standing.remember(baseline);
                }
                return Ok(footprint::hidden(&standing.footprints, &footprint));
            }
            Arm::Reference | Arm::MlxLm | Arm::PlainLora => {}
        }
        Ok(None)
    }

    /// Marks the latest trial as one whose numbers don't count.
    fn forged(reason: String, log: &mut Log) -> TrialFailure {
        if let Some(record) = log.trials.last_mut() {
            (record.exit, record.message) = (Exit::Invalid, Some(reason.clone()));
        }
        TrialFailure::Refused(Objection::Foul(reason))
    }

    /// The only trial of a screening: none if it went well.
    pub(super) async fn run_screening(
        &self,
        candidate: &Arc<Compiled>,
        secret: &Secret,
        log: &mut Log,
    ) -> Result<Option<Outcome>, Stop> {
        let series = self.device.series().await;
        let mut standing = self.standing.lock().await;
        log.event(Event::Entered { stage: Stage::Trial });
        let mut chance = Drawn(secret.generator());
        let plan = unpaired(protocol::Stage::Screen, Arm::Candidate, chance.seed(), 0, 1);
        let arms = Arms { candidate, reference: Arc::clone(&self.baseline), is_promoted: false };
        match self.run_unpaired(&series, plan, candidate, &mut chance, log).await? {
            Ok(_) => {
                let hidden =
                    self.look_for_hidden_memory(&series, &mut standing, &arms, Arm::Candidate, log).await?;
                match hidden {
                    None => Ok(None),
                    Some(reason) => {
                        let failure = Self::forged(reason, log);
                        self.trial_failure(failure).await.map(Some)
                    }
                }
            }
            Err(failure) => self.trial_failure(failure).await.map(Some),
        }
    }

    /// The baseline's memory in one trial that belongs to no evaluation.
    async fn weigh_baseline(&self, series: &Series<'_>) -> Result<Option<Footprint>, Stop> {
        let mut chance = Drawn(Secret::draw()?.generator());
        let plan = unpaired(protocol::Stage::Calibration, Arm::Baseline, chance.seed(), 0, 1);
        let (replies, _nobody) = tokio::sync::mpsc::unbounded_channel();
        let mut log = Log::new(0, replies);
        match self.run_unpaired(series, plan, &self.baseline, &mut chance, &mut log).await? {
            Ok(_) => Ok(log.trials.last().and_then(weighed)),
            Err(failure) => Err(unmeasurable(&self.trial_failure(failure).await?)),
        }
    }

    /// A trial of no pair, once more with another seed if there is a doubt. (In a pair the protocol sees to that.)
    async fn run_unpaired(
        &self,
        series: &Series<'_>,
        mut plan: Plan,
        kernel: &Compiled,
        chance: &mut Drawn,
        log: &mut Log,
    ) -> Result<Result<Sample, TrialFailure>, Stop> {
        let trial = Trial { plan: &plan, kernel: Some(kernel) };
        match self.run_trial(series, trial, None, log).await? {
            Err(TrialFailure::Refused(Objection::Doubt(_))) => {}
            done => return Ok(done),
        }
        plan.seed = chance.seed();
        self.run_trial(series, Trial { plan: &plan, kernel: Some(kernel) }, None, log).await
    }

    /// One trial, again if somebody kills it, and its judgement.
    async fn run_trial(
        &self,
        series: &Series<'_>,
        trial: Trial<'_>,
        number: Option<u64>,
        log: &mut Log,
    ) -> Result<Result<Sample, TrialFailure>, Stop> {
        let Plan { arm, index, of, .. } = *trial.plan;
        let measuring = series.measure().await?;
        log.event(Event::TrialStarted { arm, number: index + 1, of });
        let mut attempt = self.attempt(trial, log).await?;
        if matches!(attempt.answer.result, Err(Fault::Killed)) {
            // Somebody killed it from outside, which says nothing about the kernel.
            self.settle(trial, attempt, log).await?.ok();
            attempt = self.attempt(trial, log).await?;
        }
        drop(measuring);
        attempt.record.number = number;
        // Judging computes as much as a trial does, so it waits like a build.
        let _building = self.device.build().await?;
        self.settle(trial, attempt, log).await
    }

    /// One process.
    async fn attempt(&self, trial: Trial<'_>, log: &Log) -> Result<Attempt, Stop> {
        let Trial { plan, kernel } = trial;
        let mut record = TrialRecord::planned(log.trials.len() as u32, plan, now());
        let warm_up_seed = fresh_seed(&mut Secret::draw()?.generator());
        let training = Training { fine_tune_type: self.kind(plan.arm), ..self.training.clone() };
        let answer = self.train(kernel, training, plan.seed, warm_up_seed).await?;
        record.ended_at = now();
        record.process_peak_bytes = Some(answer.peak_bytes);
        Ok(Attempt { record, answer })
    }

    /// What an arm's trials train.
    fn kind(&self, arm: Arm) -> AdapterKind {
        if arm == Arm::PlainLora { AdapterKind::Lora } else { self.training.fine_tune_type }
    }

    /// Fine-tunes once.
    pub(super) async fn train(
        &self,
        kernel: Option<&Compiled>,
        training: Training,
        seed: u64,
        warm_up_seed: u64,
    ) -> Result<Answer, Stop> {
        let is_own = training.fine_tune_type == self.training.fine_tune_type;
        let bytes = if is_own { self.prepared.adapter_bytes } else { self.prepared.lora_bytes };
        let is_baseline = kernel.is_some_and(|kernel| std::ptr::eq(kernel, &raw const *self.baseline));
        let request = TrialRequest {
            plugin: kernel.map(|kernel| kernel.plugin.clone()),
            model: self.prepared.model.clone(),
            training,
            warm_up_seed,
            lock: self.runner.confine.sandbox,
            hand_over: is_baseline
                && self.runner.harness.compiled.is_some()
                && self.runner.initial.folder().is_none(),
        };
        let seconds = self.problem.limits.trial_seconds;
        self.runner.trial(kernel, request, seed, bytes, seconds).await
    }

    /// Has an attempt judged, and keeps its record.
    async fn settle(
        &self,
        trial: Trial<'_>,
        attempt: Attempt,
        log: &mut Log,
    ) -> Result<Result<Sample, TrialFailure>, Stop> {
        let Attempt { mut record, answer } = attempt;
        let result = match answer.result {
            Ok(trained) => {
                let iterations = self.training.iterations;
                let kind = self.kind(trial.plan.arm);
                let grade = self.grader.trial(trial.plan.seed, iterations, kind, &trained.adapters).await?;
                fill(&mut record, &trained, &grade);
                let evidence = Evidence {
                    kernel: trial.kernel.map(|kernel| kernel.plugin.kernel.as_str()),
                    report: &trained.report,
                    grade: &grade,
                    seconds: trained.seconds,
                };
                judge::judge(evidence).map_err(TrialFailure::Refused)
            }
            Err(fault) => {
                log.artifact("stderr", &answer.stderr);
                Err(TrialFailure::Fault(fault))
            }
        };
        (record.exit, record.message) = match &result {
            Ok(_) => (Exit::Ok, None),
            Err(failure) => (failure.exit(), Some(failure.message())),
        };
        log.event(Event::TrialEnded {
            arm: trial.plan.arm,
            number: trial.plan.index + 1,
            of: trial.plan.of,
            exit: record.exit,
            tokens_per_second: record.tokens_per_second,
        });
        log.trials.push(record);
        Ok(result)
    }

    async fn trial_failure(&self, failure: TrialFailure) -> Result<Outcome, Stop> {
        match failure {
            TrialFailure::Fault(fault) => self.blame(fault, Stage::Trial).await,
            TrialFailure::Refused(objection) => {
                Ok(Outcome::Rejected { reason: objection.reason().to_owned() })
            }
        }
    }
}

/// A trial outside of pairs.
fn unpaired(stage: protocol::Stage, arm: Arm, seed: u64, index: u32, of: u32) -> Plan {
    Plan { stage, arm, seed, pair: None, reference_first: None, index, of, references: Vec::new() }
}

/// A trial's memory from both sides, where both are known.
fn weighed(trial: &TrialRecord) -> Option<Footprint> {
    let outside = trial.metrics.get(OUTSIDE_PEAK).copied()?;
    Some(Footprint { allocator: trial.peak_memory_bytes? as f64, outside })
}

/// Why a trial doesn't count.
#[derive(Debug, Clone, PartialEq)]
enum TrialFailure {
    /// It left nothing behind.
    Fault(Fault),
    /// It did, but not, or not surely, the adapters of a fine-tuning with this kernel in this time.
    Refused(Objection),
}

impl TrialFailure {
    /// Whether one is enough for the whole evaluation.
    fn is_foul(&self) -> bool {
        matches!(self, Self::Refused(Objection::Foul(_)) | Self::Fault(Fault::Forbidden(_)))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Fault(Fault::Kernel(_) | Fault::Setup(_)) => Exit::Failed,
            Self::Fault(Fault::Crashed(_)) => Exit::Crashed,
            Self::Fault(Fault::Timeout) => Exit::Timeout,
            Self::Fault(Fault::Memory) => Exit::OutOfMemory,
            Self::Fault(Fault::Killed) => Exit::Killed,
            Self::Fault(Fault::Forbidden(_)) | Self::Refused(_) => Exit::Invalid,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Fault(fault) => fault.to_string(),
            Self::Refused(objection) => objection.reason().to_owned(),
        }
    }
}

fn fill(record: &mut TrialRecord, trained: &Trained, grade: &TrialGrade) {
    let Trained { seconds, outside, device_bytes, report, .. } = trained;
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    record.wall_seconds = Some(*seconds);
    record.tokens_per_second = finite(grade.tokens as f64 / seconds);
    record.peak_memory_bytes = Some(report.peak_memory_bytes);
    record.train_loss = finite(grade.train_loss);
    record.validation_loss = finite(grade.validation_loss);
    record.kernel = Some(report.kernel.clone());
    record.kernel_layers = Some(report.kernel_layers);
    let further = [
        (OUTSIDE_PEAK, outside.peak_bytes as f64),
        ("tokens", grade.tokens as f64),
        (DEVIATION, grade.deviation),
        ("deviation_limit", grade.tolerance),
        ("floor_seconds", grade.floor_seconds),
        ("runner_seconds", report.seconds),
        ("active_memory_bytes", report.active_memory_bytes as f64),
        ("kernel_calls", report.kernel_calls as f64),
        ("quantized_layers", f64::from(report.quantized_layers)),
    ];
    let device = device_bytes.map(|bytes| (DEVICE_PEAK, bytes as f64));
    let further = further.into_iter().chain(device).filter(|(_, value)| value.is_finite());
    record.metrics.extend(further.map(|(name, value)| (name.to_owned(), value)));
}
