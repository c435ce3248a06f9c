//! The numeric comparison of a candidate with the reference.

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};

use search::{Outcome, Stage};
use trial_protocol::{CheckCase, CheckReport, CheckRequest, Comparison, Reply, Request};

use super::KernelEvaluator;
use crate::compile::Compiled;
use crate::log::Log;
use crate::runner::Fault;
use crate::stop::Stop;
use crate::wire::Event;

/// What has to be compared in every case.
const QUANTITIES: [&str; 4] = ["forward", "grad x", "grad lora_a", "grad lora_b"];

impl KernelEvaluator {
    /// Passes if the candidate's values and gradients agree with the reference's in every case.
    pub(super) async fn check(&self, candidate: &Compiled, log: &mut Log) -> Result<(), Stop> {
        let _building = self.device.build().await?;
        log.event(Event::Entered { stage: Stage::Check });
        let checks = &self.problem.checks;
        let request = Request::Check(CheckRequest {
            plugin: candidate.plugin.clone(),
            cases: checks.cases.clone(),
            tolerance: checks.tolerance,
            seed: fresh_seed(),
        });
        let limit = self.problem.limits.check_seconds;
        let mut answer = self.runner.run(&request, limit).await?;
        if answer.result == Err(Fault::Killed) {
            answer = self.runner.run(&request, limit).await?;
        }
        match answer.result {
            Ok(Reply::Check(report)) => judge(&report, &candidate.plugin.kernel, &checks.cases, log),
            Ok(_) => Err(crash("the trial runner gave another answer than asked for".to_owned())),
            Err(fault) => {
                log.artifact("stderr", &answer.stderr);
                Err(self.failure(fault, Stage::Check).into())
            }
        }
    }
}

fn crash(message: String) -> Stop {
    Outcome::Crash { stage: Stage::Check, message }.into()
}

/// A seed that no candidate can have known. `RandomState` is the operating system's randomness.
fn fresh_seed() -> u64 {
    RandomState::new().hash_one("check")
}

fn judge(report: &CheckReport, kernel: &str, cases: &[CheckCase], log: &mut Log) -> Result<(), Stop> {
    if report.kernel != kernel {
        let reason = format!("kernel was not applied: the check ran `{}`", report.kernel);
        return Err(Outcome::Rejected { reason }.into());
    }
    // A report that leaves something out is not a pass.
    for (case, quantity) in
        (0_u32..).zip(cases).flat_map(|(case, _)| QUANTITIES.map(|quantity| (case, quantity)))
    {
        let is_it = |comparison: &Comparison| comparison.case == case && comparison.quantity == quantity;
        if !report.comparisons.iter().any(is_it) {
            return Err(crash(format!("the check left out {quantity} of case {case}")));
        }
    }
    let failed: Vec<&Comparison> =
        report.comparisons.iter().filter(|comparison| !passed(comparison)).collect();
    let Some(worst) = failed.iter().max_by(|a, b| badness(a).total_cmp(&badness(b))) else { return Ok(()) };
    log.artifact("comparisons", &table(&failed, cases));
    let more = if failed.len() > 1 {
        format!(" ({} of {} comparisons failed)", failed.len(), report.comparisons.len())
    } else {
        String::new()
    };
    let message = format!("{}{more}", describe(worst, cases));
    Err(Outcome::WrongResult { message }.into())
}

/// By our own arithmetic; a NaN error fails.
fn passed(comparison: &Comparison) -> bool {
    comparison.passed && comparison.error.is_some_and(|error| error <= comparison.tolerance)
}

/// How many times its tolerance; infinite where there is no number.
fn badness(comparison: &Comparison) -> f32 {
    comparison
        .error
        .filter(|error| !error.is_nan())
        .map_or(f32::INFINITY, |error| error / comparison.tolerance)
}

fn describe(comparison: &Comparison, cases: &[CheckCase]) -> String {
    let place =
        cases.get(comparison.case as usize).map_or_else(String::new, |case| format!(" with {}", layer(case)));
    let Comparison { quantity, error, tolerance, note, .. } = comparison;
    match (error, note) {
        (_, Some(note)) => format!("{quantity}{place}: {note}"),
        (Some(error), None) => format!("{quantity}{place} is off by {error:.1e}, allowed is {tolerance:.1e}"),
        (None, None) => format!("{quantity}{place} is not finite or has another shape"),
    }
}

fn table(failed: &[&Comparison], cases: &[CheckCase]) -> String {
    let mut text = String::from(
        "Failed comparisons with the reference (largest error over the reference's largest value):\n",
    );
    for comparison in failed {
        // Writing to a string can't fail.
        let _ = writeln!(text, "- {}", describe(comparison, cases));
    }
    text
}

fn layer(case: &CheckCase) -> String {
    let CheckCase { batch, length, input, output, rank, .. } = case;
    let weight = case.quantization.map_or_else(
        || "not quantized".to_owned(),
        |quantization| format!("{}-bit weights in groups of {}", quantization.bits, quantization.group_size),
    );
    let bias = if case.bias { "bias" } else { "no bias" };
    let dtype = format!("{:?}", case.dtype).to_lowercase();
    format!("x [{batch}, {length}, {input}], output {output}, rank {rank}, {weight}, {bias}, {dtype}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Checks;

    fn report(change: impl Fn(&mut Comparison)) -> CheckReport {
        let mut comparisons = Vec::new();
        for case in 0..Checks::default().cases.len() as u32 {
            for quantity in QUANTITIES {
                let mut comparison = Comparison {
                    case,
                    quantity: quantity.to_owned(),
                    error: Some(1e-6),
                    tolerance: 1e-3,
                    passed: true,
                    note: None,
                };
                change(&mut comparison);
                comparisons.push(comparison);
            }
        }
        CheckReport { kernel: "abc".to_owned(), comparisons }
    }

    fn judged(report: &CheckReport) -> Result<(), Outcome> {
        let (replies, _receiver) = tokio::sync::mpsc::unbounded_channel();
        judge(report, "abc", &Checks::default().cases, &mut Log::new(1, replies)).map_err(|stop| match stop {
            Stop::Outcome(outcome) => outcome,
            Stop::Broken(error) => panic!("{error}"),
        })
    }

    #[test]
    fn agreement_everywhere_passes() {
        assert_eq!(judged(&report(|_| {})), Ok(()));
    }

    #[test]
    fn a_wrong_result_names_the_worst_comparison() {
        let outcome = judged(&report(|comparison| match (comparison.case, comparison.quantity.as_str()) {
            (0, "grad x") => comparison.error = Some(0.002),
            (3, "grad lora_a") => comparison.error = Some(0.5),
            _ => {}
        }))
        .unwrap_err();
        let Outcome::WrongResult { message } = outcome else { panic!("{outcome}") };
        assert!(message.starts_with("grad lora_a with x [1, 1, 128], output 64"), "{message}");
        assert!(message.contains("off by 5.0e-1") && message.contains("2 of 28"), "{message}");
    }

    #[test]
    fn a_claim_to_have_passed_is_not_believed() {
        let lies: [fn(&mut Comparison); 3] =
            [|c| c.error = Some(1.0), |c| c.error = None, |c| c.error = Some(f32::NAN)];
        for lie in lies {
            assert_eq!(judged(&report(lie)).unwrap_err().kind(), "wrong_result");
        }
    }

    #[test]
    fn a_check_that_leaves_something_out_or_ran_another_kernel_does_not_pass() {
        let mut short = report(|_| {});
        short.comparisons.pop();
        assert_eq!(judged(&short).unwrap_err().kind(), "crash");
        let other = CheckReport { kernel: "other".to_owned(), ..report(|_| {}) };
        assert_eq!(judged(&other).unwrap_err().kind(), "rejected");
    }
}
