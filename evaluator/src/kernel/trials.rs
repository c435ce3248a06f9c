//! Runs the trials a protocol asks for, and has each one judged before it counts.

use std::collections::BTreeMap;

use search::{Outcome, Stage};
use trial_protocol::{Training, TrialGrade, TrialRequest};

use super::judge::{self, Evidence};
use super::{KernelEvaluator, footprints, unmeasurable};
use crate::compile::Compiled;
use crate::device::Series;
use crate::footprint::Footprint;
use crate::log::{Log, now};
use crate::protocol::{self, Chance, Decision, Judgement, Plan, Protocol, Sample, Step, TrialResult};
use crate::runner::{Answer, Fault, Trained};
use crate::secret::{Secret, fresh_seed};
use crate::stop::Stop;
use crate::trial::{Arm, Exit, TrialRecord};
use crate::wire::Event;

/// Names of metrics of a trial that are looked at again.
pub(super) const OUTSIDE_PEAK: &str = "outside_peak_bytes";
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
#[derive(Clone)]
struct Trial<'a> {
    plan: Plan,
    kernel: &'a Compiled,
    /// What the plan's seed becomes.
    seed: u64,
}

impl KernelEvaluator {
    /// Trial after trial until the protocol has decided. The device is ours for that long; builds of others, and the judge,
    /// run between the trials.
    pub(super) async fn run_trials(
        &self,
        protocol: &mut dyn Protocol,
        candidate: &Compiled,
        secret: &Secret,
        log: &mut Log,
    ) -> Result<Ending, Stop> {
        let series = self.device.series().await;
        log.event(Event::Entered { stage: Stage::Trial });
        let mut failures = BTreeMap::new();
        let mut chance = Drawn(Secret::draw()?.generator());
        loop {
            let plan = match protocol.next(&mut chance) {
                Step::Run(plan) => plan,
                Step::Done(Decision::Judged(judgement)) => return Ok(Ending::Judged(judgement)),
                Step::Done(Decision::Aborted { arm, .. }) => {
                    let unknown = || Outcome::Rejected { reason: format!("too few {arm} trials succeeded") };
                    let failure = failures.remove(arm.as_str()).unwrap_or_else(unknown);
                    return Ok(Ending::Aborted { arm, failure });
                }
            };
            let kernel = match plan.arm {
                Arm::Candidate => candidate,
                Arm::Baseline | Arm::Reference | Arm::MlxLm => &self.baseline,
            };
            let arm = plan.arm;
            let number = u64::from(plan.index);
            let trial = Trial { seed: secret.seed(plan.seed), plan, kernel };
            let result = self.run_trial(&series, trial, log).await?;
            protocol
                .tell(number, result.as_ref().map_or(TrialResult::Failed, |sample| TrialResult::Ok(*sample)));
            match result {
                Ok(_) => {}
                // A crash in one trial of many may be chance. This is none.
                Err(failure) if failure.is_foul() => {
                    let failure = self.trial_failure(failure).await?;
                    return Ok(Ending::Aborted { arm, failure });
                }
                Err(failure) => {
                    failures.insert(arm.as_str(), self.trial_failure(failure).await?);
                }
            }
        }
    }

    /// The only trial of a screening: none if it went well.
    pub(super) async fn run_screening(
        &self,
        candidate: &Compiled,
        secret: &Secret,
        log: &mut Log,
    ) -> Result<Option<Outcome>, Stop> {
        let series = self.device.series().await;
        log.event(Event::Entered { stage: Stage::Trial });
        let plan = single(Arm::Candidate);
        let trial = Trial { seed: secret.seed(plan.seed), plan, kernel: candidate };
        match self.run_trial(&series, trial, log).await? {
            Ok(_) => Ok(None),
            Err(failure) => self.trial_failure(failure).await.map(Some),
        }
    }

    /// The baseline's memory in one trial that belongs to no evaluation.
    pub(super) async fn weigh_baseline(&self) -> Result<Option<Footprint>, Stop> {
        let series = self.device.series().await;
        let plan = single(Arm::Baseline);
        let seed = Secret::draw()?.seed(plan.seed);
        let trial = Trial { plan, kernel: &self.baseline, seed };
        let (replies, _nobody) = tokio::sync::mpsc::unbounded_channel();
        let mut log = Log::new(0, replies);
        match self.run_trial(&series, trial, &mut log).await? {
            Ok(_) => Ok(footprints(&log.trials, |arm| arm == Arm::Baseline).pop()),
            Err(failure) => Err(unmeasurable(&self.trial_failure(failure).await?)),
        }
    }

    /// One trial, again if somebody kills it, and its judgement.
    async fn run_trial(
        &self,
        series: &Series<'_>,
        trial: Trial<'_>,
        log: &mut Log,
    ) -> Result<Result<Sample, TrialFailure>, Stop> {
        let Plan { arm, index, of, .. } = trial.plan;
        let measuring = series.measure().await?;
        log.event(Event::TrialStarted { arm, number: index + 1, of });
        let mut attempt = self.attempt(trial.clone(), log).await?;
        if matches!(attempt.answer.result, Err(Fault::Killed)) {
            // Somebody killed it from outside, which says nothing about the kernel.
            self.settle(trial.clone(), attempt, log).await?.ok();
            attempt = self.attempt(trial.clone(), log).await?;
        }
        drop(measuring);
        // Judging computes as much as a trial does, so it waits like a build.
        let _building = self.device.build().await?;
        self.settle(trial, attempt, log).await
    }

    /// One process.
    async fn attempt(&self, trial: Trial<'_>, log: &Log) -> Result<Attempt, Stop> {
        let Trial { plan, kernel, seed } = trial;
        let mut record =
            TrialRecord::begin(log.trials.len() as u32, plan.stage.as_str(), plan.arm, seed, now());
        record.metrics.insert("plan_seed".to_owned(), plan.seed as f64);
        let warm_up_seed = fresh_seed(&mut Secret::draw()?.generator());
        let answer = self.train(kernel, self.training.clone(), seed, warm_up_seed).await?;
        record.ended_at = now();
        record.process_peak_bytes = Some(answer.peak_bytes);
        Ok(Attempt { record, answer })
    }

    /// Fine-tunes once.
    pub(super) async fn train(
        &self,
        kernel: &Compiled,
        training: Training,
        seed: u64,
        warm_up_seed: u64,
    ) -> Result<Answer, Stop> {
        let request = TrialRequest {
            plugin: Some(kernel.plugin.clone()),
            model: self.prepared.model.clone(),
            training,
            warm_up_seed,
            lock: self.runner.confine.sandbox,
        };
        let seconds = self.problem.limits.trial_seconds;
        self.runner.trial(kernel, request, seed, self.prepared.adapter_bytes, seconds).await
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
                let grade = self.grader.trial(trial.seed, iterations, &trained.adapters).await?;
                fill(&mut record, &trained, &grade);
                let evidence = Evidence {
                    kernel: &trial.kernel.plugin.kernel,
                    report: &trained.report,
                    grade: &grade,
                    seconds: trained.seconds,
                };
                judge::judge(evidence).map_err(TrialFailure::Invalid)
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
            TrialFailure::Invalid(reason) => Ok(Outcome::Rejected { reason }),
        }
    }
}

/// The only trial of a screening for honesty, which no protocol asked for.
fn single(arm: Arm) -> Plan {
    Plan {
        stage: protocol::Stage::Screen,
        arm,
        seed: 0,
        pair: None,
        reference_first: None,
        index: 0,
        of: 1,
        references: Vec::new(),
    }
}

/// Draws for a protocol.
struct Drawn(rand_chacha::ChaCha20Rng);

impl Chance for Drawn {
    fn seed(&mut self) -> u64 {
        fresh_seed(&mut self.0)
    }

    fn coin(&mut self) -> bool {
        fresh_seed(&mut self.0).is_multiple_of(2)
    }
}

/// Why a trial doesn't count.
#[derive(Debug, Clone, PartialEq)]
enum TrialFailure {
    /// It left nothing behind.
    Fault(Fault),
    /// It did, but not the adapters of a fine-tuning with this kernel in this time.
    Invalid(String),
}

impl TrialFailure {
    /// Whether one is enough for the whole evaluation.
    fn is_foul(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::Fault(Fault::Forbidden(_)))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Fault(Fault::Kernel(_) | Fault::Setup(_)) => Exit::Failed,
            Self::Fault(Fault::Crashed(_)) => Exit::Crashed,
            Self::Fault(Fault::Timeout) => Exit::Timeout,
            Self::Fault(Fault::Memory) => Exit::OutOfMemory,
            Self::Fault(Fault::Killed) => Exit::Killed,
            Self::Fault(Fault::Forbidden(_)) | Self::Invalid(_) => Exit::Invalid,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Fault(fault) => fault.to_string(),
            Self::Invalid(reason) => reason.clone(),
        }
    }
}

fn fill(record: &mut TrialRecord, trained: &Trained, grade: &TrialGrade) {
    let Trained { seconds, outside, report, .. } = trained;
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
    let further = further.into_iter().filter(|(_, value)| value.is_finite());
    record.metrics.extend(further.map(|(name, value)| (name.to_owned(), value)));
}
