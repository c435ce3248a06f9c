//! Runs the trials a protocol asks for, and looks at each report before believing it.

use std::collections::BTreeMap;

use search::{Outcome, Stage};
use trial_protocol::{Plugin, Reply, Request, TrialReport, TrialRequest};

use super::KernelEvaluator;
use crate::compile::Compiled;
use crate::log::{Log, now};
use crate::protocol::{Decision, Plan, Protocol, Sample, Step};
use crate::runner::{Answer, Fault};
use crate::stop::Stop;
use crate::trial::{Arm, Exit, TrialRecord};
use crate::wire::Event;

/// A decision, with the failure that led to it.
pub(super) enum Ending {
    Judged(crate::protocol::Judgement),
    Aborted { arm: Arm, failure: Outcome },
}

impl KernelEvaluator {
    /// Trial after trial until the protocol has decided. The device is ours for that long; builds of others
    /// run between the trials.
    pub(super) async fn run_trials(
        &self,
        protocol: &mut dyn Protocol,
        candidate: &Compiled,
        log: &mut Log,
    ) -> Result<Ending, Stop> {
        let series = self.device.series().await;
        log.event(Event::Entered { stage: Stage::Trial });
        let mut failures = BTreeMap::new();
        loop {
            let plan = match protocol.next() {
                Step::Run(plan) => plan,
                Step::Done(Decision::Judged(judgement)) => return Ok(Ending::Judged(judgement)),
                Step::Done(Decision::Aborted { arm }) => {
                    let unknown = || Outcome::Rejected { reason: format!("too few {arm} trials succeeded") };
                    let failure = failures.remove(arm.as_str()).unwrap_or_else(unknown);
                    return Ok(Ending::Aborted { arm, failure });
                }
            };
            let plugin = match plan.arm {
                Arm::Baseline => &self.baseline.plugin,
                Arm::Candidate => &candidate.plugin,
            };
            let measuring = series.measure().await?;
            let number = plan.index + 1;
            log.event(Event::TrialStarted { arm: plan.arm, number, of: plan.of });
            let mut result = self.run_trial(protocol.name(), plan, plugin, log).await?;
            if matches!(result, Err(TrialFailure::Fault(Fault::Killed))) {
                // Somebody killed it from outside, which says nothing about the kernel.
                result = self.run_trial(protocol.name(), plan, plugin, log).await?;
            }
            drop(measuring);
            protocol.tell(result.as_ref().ok().copied());
            if let Err(failure) = result {
                failures.insert(plan.arm.as_str(), self.trial_failure(failure));
            }
        }
    }

    /// One process, one record.
    async fn run_trial(
        &self,
        stage: &str,
        plan: Plan,
        plugin: &Plugin,
        log: &mut Log,
    ) -> Result<Result<Sample, TrialFailure>, Stop> {
        let request = Request::Trial(TrialRequest {
            plugin: Some(plugin.clone()),
            model: self.problem.model.clone(),
            training: self.problem.training.clone(),
            seed: plan.seed,
        });
        let index = log.trials.len() as u32;
        let mut record = TrialRecord::begin(index, stage, plan.arm, plan.seed, now());
        let answer = self.runner.run(&request, self.problem.limits.trial_seconds).await?;
        record.ended_at = now();
        record.process_peak_bytes = Some(answer.peak_bytes);
        record.wall_seconds = answer.wall_seconds;
        let result = match answer {
            Answer { result: Ok(Reply::Trial(report)), wall_seconds: Some(seconds), .. } => {
                fill(&mut record, &report, seconds);
                examine(&report, seconds, plan.arm, &plugin.kernel)?
            }
            Answer { result: Ok(_), .. } => {
                Err(TrialFailure::Invalid("the trial runner gave another answer than asked for".to_owned()))
            }
            Answer { result: Err(fault), ref stderr, .. } => {
                log.artifact("stderr", stderr);
                Err(TrialFailure::Fault(fault))
            }
        };
        (record.exit, record.message) = match &result {
            Ok(_) => (Exit::Ok, None),
            Err(failure) => (failure.exit(), Some(failure.message())),
        };
        log.event(Event::TrialEnded {
            arm: plan.arm,
            number: plan.index + 1,
            of: plan.of,
            exit: record.exit,
            tokens_per_second: record.tokens_per_second,
        });
        log.trials.push(record);
        Ok(result)
    }

    /// What a fault means for the candidate.
    pub(super) fn failure(&self, fault: Fault, stage: Stage) -> Outcome {
        let limits = &self.problem.limits;
        match fault {
            Fault::Kernel(message) | Fault::Crashed(message) => Outcome::Crash { stage, message },
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

    fn trial_failure(&self, failure: TrialFailure) -> Outcome {
        match failure {
            TrialFailure::Fault(fault) => self.failure(fault, Stage::Trial),
            TrialFailure::Invalid(reason) => Outcome::Rejected { reason },
        }
    }
}

/// Why a trial doesn't count.
#[derive(Debug, Clone, PartialEq)]
enum TrialFailure {
    /// There is no report.
    Fault(Fault),
    /// There is one, but it isn't of a fine-tuning with this kernel.
    Invalid(String),
}

impl TrialFailure {
    fn exit(&self) -> Exit {
        match self {
            Self::Fault(Fault::Kernel(_)) => Exit::Failed,
            Self::Fault(Fault::Crashed(_)) => Exit::Crashed,
            Self::Fault(Fault::Timeout) => Exit::Timeout,
            Self::Fault(Fault::Memory) => Exit::OutOfMemory,
            Self::Fault(Fault::Killed) => Exit::Killed,
            Self::Invalid(_) => Exit::Invalid,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Fault(Fault::Kernel(message) | Fault::Crashed(message)) => message.clone(),
            Self::Fault(Fault::Timeout) => "killed at its time limit".to_owned(),
            Self::Fault(Fault::Memory) => "killed at its memory limit".to_owned(),
            Self::Fault(Fault::Killed) => "killed from outside".to_owned(),
            Self::Invalid(reason) => reason.clone(),
        }
    }
}

fn fill(record: &mut TrialRecord, report: &TrialReport, seconds: f64) {
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    record.tokens_per_second = finite(report.tokens as f64 / seconds);
    record.peak_memory_bytes = Some(report.peak_memory_bytes);
    record.train_loss = report.losses.last().copied().and_then(finite);
    record.validation_loss = finite(report.validation_loss);
    record.kernel = Some(report.kernel.clone());
    record.kernel_layers = Some(report.kernel_layers);
    let further = [
        ("runner_seconds", report.seconds),
        ("active_memory_bytes", report.active_memory_bytes as f64),
        ("kernel_calls", report.kernel_calls as f64),
        ("quantized_layers", f64::from(report.quantized_layers)),
        ("tokens", report.tokens as f64),
    ];
    let further = further.into_iter().filter(|(_, value)| value.is_finite());
    record.metrics.extend(further.map(|(name, value)| (name.to_owned(), value)));
}

/// The seed document's validation checks. What is wrong in the baseline arm is wrong with us.
fn examine(
    report: &TrialReport,
    seconds: f64,
    arm: Arm,
    kernel: &str,
) -> Result<Result<Sample, TrialFailure>, Stop> {
    if report.quantized_layers == 0 {
        let error = "the model has no quantized layers, so there is nothing for a quantized kernel to do; name a \
                     quantized model in problem.yaml";
        return Err(Stop::Broken(error.to_owned()));
    }
    let applied = report.kernel == kernel && report.kernel_layers > 0 && report.kernel_calls > 0;
    if !applied && arm == Arm::Baseline {
        return Err(Stop::Broken(format!(
            "a baseline trial ran `{}` on {} layers instead of the baseline; run `make mlx` again",
            report.kernel, report.kernel_layers
        )));
    }
    let invalid = |reason: String| Ok(Err(TrialFailure::Invalid(reason)));
    if !applied {
        return invalid(format!(
            "kernel was not applied: the trial ran `{}` on {} layers with {} calls",
            report.kernel, report.kernel_layers, report.kernel_calls
        ));
    }
    if !report.validation_loss.is_finite() || report.losses.iter().any(|loss| !loss.is_finite()) {
        return invalid("the loss became NaN or infinite".to_owned());
    }
    let tokens_per_second = report.tokens as f64 / seconds;
    if report.tokens == 0 || !tokens_per_second.is_finite() || report.peak_memory_bytes == 0 {
        return invalid("the trial measured nothing".to_owned());
    }
    let peak_memory_bytes = report.peak_memory_bytes as f64;
    Ok(Ok(Sample { tokens_per_second, peak_memory_bytes, validation_loss: report.validation_loss }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> TrialReport {
        TrialReport {
            kernel: "abc".to_owned(),
            kernel_layers: 4,
            kernel_calls: 40,
            quantized_layers: 9,
            tokens: 1_000,
            seconds: 0.9,
            losses: vec![5.0, 4.0],
            validation_loss: 4.1,
            peak_memory_bytes: 1 << 20,
            active_memory_bytes: 1 << 19,
        }
    }

    #[test]
    fn speed_is_by_our_clock_not_the_runners() {
        let sample = examine(&report(), 2.0, Arm::Candidate, "abc").unwrap().unwrap();
        assert!((sample.tokens_per_second - 500.0).abs() < 1e-9);
    }

    #[test]
    fn a_candidate_that_was_not_applied_is_invalid_and_a_baseline_is_our_fault() {
        let changes: [fn(&mut TrialReport); 3] =
            [|r| r.kernel = "baseline".to_owned(), |r| r.kernel_layers = 0, |r| r.kernel_calls = 0];
        for change in changes {
            let mut report = report();
            change(&mut report);
            let failure = examine(&report, 1.0, Arm::Candidate, "abc").unwrap().unwrap_err();
            assert!(failure.message().starts_with("kernel was not applied"), "{failure:?}");
            assert!(examine(&report, 1.0, Arm::Baseline, "abc").is_err());
        }
    }

    #[test]
    fn a_model_without_quantized_layers_is_our_fault() {
        let report = TrialReport { quantized_layers: 0, ..report() };
        assert!(examine(&report, 1.0, Arm::Candidate, "abc").is_err());
    }

    #[test]
    fn numbers_that_are_none_are_invalid() {
        let changes: [fn(&mut TrialReport); 4] = [
            |r| r.validation_loss = f64::NAN,
            |r| r.losses[0] = f64::INFINITY,
            |r| r.tokens = 0,
            |r| r.peak_memory_bytes = 0,
        ];
        for change in changes {
            let mut report = report();
            change(&mut report);
            assert!(examine(&report, 1.0, Arm::Candidate, "abc").unwrap().is_err());
        }
    }
}
