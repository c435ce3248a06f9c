//! The numeric comparison of a candidate with the reference: the runner computes what nobody could know before, the grader
//! compares the bytes.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use search::{Outcome, Stage};
use trial_protocol::{AnswerLayout, Challenge, CheckCase, Comparison};

use super::KernelEvaluator;
use crate::challenge;
use crate::compile::Compiled;
use crate::log::Log;
use crate::report::Artifact;
use crate::runner::Fault;
use crate::stop::Stop;

/// One comparison of one challenge.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    /// Which challenge, by position.
    challenge: usize,
    comparison: Comparison,
}

/// What a check's process left behind.
pub(super) struct Checked {
    pub(super) stderr: String,
    /// All comparisons, or why some are missing.
    pub(super) result: Result<Vec<Finding>, Fault>,
}

impl KernelEvaluator {
    /// Passes if the candidate's values and gradients agree with the reference's in every case.
    pub(super) async fn check(
        &self,
        candidate: &Compiled,
        rng: &mut ChaCha20Rng,
        log: &mut Log,
    ) -> Result<(), Stop> {
        let challenges = challenge::draw(&self.announced, self.problem.checks.secret_cases, rng);
        let checked = self.compare(candidate, &challenges).await?;
        match checked.result {
            Ok(findings) => judge(&findings, &challenges).map_err(|wrong| {
                log.artifacts.push(wrong.comparisons);
                wrong.outcome.into()
            }),
            Err(fault) => {
                log.artifact("stderr", &checked.stderr);
                Err(self.blame(fault, Stage::Check).await?.into())
            }
        }
    }

    /// Lets one process answer all challenges, each when the one before has been judged.
    pub(super) async fn compare(&self, kernel: &Compiled, challenges: &[Challenge]) -> Result<Checked, Stop> {
        let checked = self.compare_once(kernel, challenges).await?;
        if checked.result == Err(Fault::Killed) {
            // Somebody killed it from outside, which says nothing about the kernel.
            return self.compare_once(kernel, challenges).await;
        }
        Ok(checked)
    }

    async fn compare_once(&self, kernel: &Compiled, challenges: &[Challenge]) -> Result<Checked, Stop> {
        let (mut session, mut ready) = self.runner.check(kernel, self.problem.limits.check_seconds).await?;
        let mut findings = Vec::new();
        let mut spent = Spent::default();
        for (number, challenge) in challenges.iter().enumerate() {
            let asked = Instant::now();
            let answer = match ready {
                Ok(()) => session.answer(challenge).await,
                Err(silent) => Err(silent),
            };
            let bytes = match answer {
                Ok(bytes) => bytes,
                Err(silent) => {
                    let (ended, fault) = session.fault(silent).await?;
                    return Ok(Checked { stderr: ended.stderr, result: Err(fault) });
                }
            };
            ready = Ok(());
            let answered = Instant::now();
            let comparisons = self.grader.check(challenge, &bytes).await?;
            spent.add(&challenge.case, answered - asked, answered.elapsed());
            complete(&comparisons, &challenge.case)?;
            findings
                .extend(comparisons.into_iter().map(|comparison| Finding { challenge: number, comparison }));
        }
        let ended = session.close().await?;
        spent.tell(challenges.len());
        Ok(Checked { stderr: ended.stderr, result: Ok(findings) })
    }
}

/// Where a check's time went.
#[derive(Debug, Default)]
struct Spent {
    answering: Duration,
    judging: Duration,
    /// The challenge that took longest, and how long.
    longest: Option<(Duration, String)>,
}

impl Spent {
    fn add(&mut self, case: &CheckCase, answering: Duration, judging: Duration) {
        self.answering += answering;
        self.judging += judging;
        let both = answering + judging;
        if self.longest.as_ref().is_none_or(|(longest, _)| both > *longest) {
            self.longest = Some((both, layer(case)));
        }
    }

    fn tell(&self, challenges: usize) {
        let Some((longest, case)) = &self.longest else { return };
        tracing::info!(
            challenges,
            answering = self.answering.as_secs_f32(),
            judging = self.judging.as_secs_f32(),
            longest = longest.as_secs_f32(),
            case,
            "checked, in seconds"
        );
    }
}

/// A kernel that doesn't agree with the reference.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) outcome: Outcome,
    /// What to show of it.
    comparisons: Artifact,
}

/// Whether all comparisons of any of so many challenges hold.
pub(super) fn any_passes(findings: &[Finding], challenges: usize) -> bool {
    let of = |number: usize| findings.iter().filter(move |finding| finding.challenge == number);
    (0..challenges).any(|number| of(number).all(|finding| passed(&finding.comparison)))
}

/// A judgement that leaves something out is not a pass; and as the grader is ours, it is our fault.
fn complete(comparisons: &[Comparison], case: &CheckCase) -> Result<(), Stop> {
    let layout = AnswerLayout::of(case);
    let is_judged = |quantity: &str| comparisons.iter().any(|comparison| comparison.quantity == quantity);
    match layout.parts.iter().find(|part| !is_judged(&part.quantity)) {
        None => Ok(()),
        Some(part) => {
            Err(Stop::Broken(format!("the grader left out {}; run `make mlx` again", part.quantity)))
        }
    }
}

/// Passes if all comparisons hold; else the worst one's words, and all of them as an artifact.
pub(super) fn judge(findings: &[Finding], challenges: &[Challenge]) -> Result<(), Box<Wrong>> {
    let failed: Vec<&Finding> = findings.iter().filter(|finding| !passed(&finding.comparison)).collect();
    let worst = failed.iter().max_by(|a, b| badness(&a.comparison).total_cmp(&badness(&b.comparison)));
    let Some(worst) = worst else { return Ok(()) };
    let comparisons = Artifact::new("comparisons", &table(&failed, challenges));
    let more = if failed.len() > 1 {
        format!(" ({} of {} comparisons failed)", failed.len(), findings.len())
    } else {
        String::new()
    };
    let message = format!("{}{more}", describe(worst, challenges));
    Err(Box::new(Wrong { outcome: Outcome::WrongResult { message }, comparisons }))
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

fn describe(finding: &Finding, challenges: &[Challenge]) -> String {
    let Finding { challenge, comparison: Comparison { quantity, error, tolerance, note, .. } } = finding;
    let place = challenges
        .get(*challenge)
        .map_or_else(String::new, |challenge| format!(" with {}", layer(&challenge.case)));
    match (error, note) {
        (Some(error), Some(note)) => {
            format!("{quantity}{place}: {note} (off by {error:.1e}, allowed is {tolerance:.1e})")
        }
        (None, Some(note)) => format!("{quantity}{place}: {note}"),
        (Some(error), None) => format!("{quantity}{place} is off by {error:.1e}, allowed is {tolerance:.1e}"),
        (None, None) => format!("{quantity}{place} is not finite"),
    }
}

fn table(failed: &[&Finding], challenges: &[Challenge]) -> String {
    let mut text = String::from(
        "Failed comparisons with the reference (largest error over the reference's largest value):\n",
    );
    for finding in failed {
        // Writing to a string can't fail.
        let _ = writeln!(text, "- {}", describe(finding, challenges));
    }
    text
}

fn layer(case: &CheckCase) -> String {
    let CheckCase { batch, length, input, rank, scale, .. } = case;
    let layers = case.layers();
    let output = layers.iter().map(|layer| layer.output.to_string()).collect::<Vec<_>>().join("+");
    let weight = case.quantization.map_or_else(
        || "not quantized".to_owned(),
        |quantization| format!("{}-bit weights in groups of {}", quantization.bits, quantization.group_size),
    );
    let bias = if case.bias { "bias" } else { "no bias" };
    let dtype = format!("{:?}", case.dtype).to_lowercase();
    format!(
        "x [{batch}, {length}, {input}], output {output}, rank {rank}, scale {scale:.1}, {weight}, {bias}, {dtype}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Checks;

    fn challenges() -> Vec<Challenge> {
        Checks::default().cases.into_iter().map(|case| Challenge::plain(case, 1)).collect()
    }

    fn findings(change: impl Fn(usize, &mut Comparison)) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (challenge, Challenge { case, .. }) in challenges().iter().enumerate() {
            for part in AnswerLayout::of(case).parts {
                let mut comparison = Comparison {
                    quantity: part.quantity,
                    error: Some(1e-6),
                    tolerance: 1e-3,
                    passed: true,
                    note: None,
                };
                change(challenge, &mut comparison);
                findings.push(Finding { challenge, comparison });
            }
        }
        findings
    }

    fn judged(findings: &[Finding]) -> Result<(), Outcome> {
        judge(findings, &challenges()).map_err(|wrong| {
            assert_eq!(wrong.comparisons.name, "comparisons");
            wrong.outcome
        })
    }

    #[test]
    fn agreement_everywhere_passes() {
        assert_eq!(judged(&findings(|_, _| {})), Ok(()));
        assert!(any_passes(&findings(|_, _| {}), 7));
    }

    #[test]
    fn a_wrong_result_names_the_worst_comparison() {
        let outcome =
            judged(&findings(|challenge, comparison| match (challenge, comparison.quantity.as_str()) {
                (0, "grad x") => comparison.error = Some(0.002),
                (3, "grad lora_a") => comparison.error = Some(0.5),
                _ => {}
            }))
            .unwrap_err();
        let Outcome::WrongResult { message } = outcome else { panic!("{outcome}") };
        assert!(message.starts_with("grad lora_a with x [1, 1, 128], output 64"), "{message}");
        assert!(message.contains("off by 5.0e-1") && message.contains("2 of 63"), "{message}");
    }

    #[test]
    fn a_number_that_is_none_fails_and_is_the_worst() {
        let lies: [fn(&mut Comparison); 3] =
            [|c| c.error = Some(1.0), |c| c.error = None, |c| c.error = Some(f32::NAN)];
        for lie in lies {
            let findings = findings(|_, comparison| lie(comparison));
            assert_eq!(judged(&findings).unwrap_err().kind(), "wrong_result");
            assert!(!any_passes(&findings, 7));
        }
    }

    #[test]
    fn one_challenge_that_passes_is_enough_for_a_canary_to_sing() {
        let but_one = findings(|challenge, comparison| comparison.passed = challenge == 3);
        assert!(any_passes(&but_one, 7) && !any_passes(&but_one, 3));
    }

    #[test]
    fn a_judgement_that_leaves_something_out_is_our_fault() {
        let case = &challenges()[0].case;
        let comparisons: Vec<Comparison> =
            findings(|_, _| {}).into_iter().take(9).map(|finding| finding.comparison).collect();
        assert!(complete(&comparisons, case).is_ok());
        assert!(matches!(complete(&comparisons[..8], case), Err(Stop::Broken(_))));
    }
}
