//! From what a trial left behind to a sample, or to the reason why it doesn't count: pure.

use trial_protocol::{TrialGrade, TrialReport};

use crate::protocol::Sample;

/// A trial as it is judged: what the runner says, what the grader says of its adapters, and our own clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence<'a> {
    /// The kernel that should have run; none is MLX-LM's own layer, with no candidate in the process.
    pub(super) kernel: Option<&'a str>,
    pub(super) report: &'a TrialReport,
    pub(super) grade: &'a TrialGrade,
    pub(super) seconds: f64,
}

/// Why a trial doesn't count. The reason begins with the fence's word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Objection {
    /// No honest trial comes to that.
    Foul(String),
    /// An honest one may, once in a long while.
    Doubt(String),
}

impl Objection {
    pub(super) fn reason(&self) -> &str {
        let (Self::Foul(reason) | Self::Doubt(reason)) = self;
        reason
    }
}

/// Up to so many times the tolerance a deviation may be chance. In float16 on a GPU two of 152 honest trials were off by 1.06 and 1.11 times the
/// tolerance, each in one array of five hundred, and the others by 0.7 times at most.
const DOUBT: f64 = 2.0;

/// The sample, if everything fits together. A doubt is only what remains where nothing is foul.
pub(super) fn judge(evidence: Evidence<'_>) -> Result<Sample, Objection> {
    let Evidence { kernel, report, grade, seconds } = evidence;
    // Only for consistency: a candidate could say all this and do something else.
    let is_applied = kernel
        .is_none_or(|kernel| report.kernel == kernel && report.kernel_layers > 0 && report.kernel_calls > 0);
    if !is_applied {
        return Err(Objection::Foul(format!(
            "kernel was not applied: the trial ran `{}` on {} layers with {} calls",
            report.kernel, report.kernel_layers, report.kernel_calls
        )));
    }
    let agreed = match agrees(grade) {
        Err(foul @ Objection::Foul(_)) => return Err(foul),
        agreed_or_doubtful => agreed_or_doubtful,
    };
    if !grade.validation_loss.is_finite() {
        return Err(Objection::Foul("judge: the validation loss became NaN or infinite".to_owned()));
    }
    if seconds < grade.floor_seconds {
        return Err(Objection::Foul(format!(
            "floor: {seconds:.4} s are less than the {:.4} s that these steps take at least on this device",
            grade.floor_seconds
        )));
    }
    let tokens_per_second = grade.tokens as f64 / seconds;
    if grade.tokens == 0 || !tokens_per_second.is_finite() || report.peak_memory_bytes == 0 {
        return Err(Objection::Foul("the trial measured nothing".to_owned()));
    }
    agreed?;
    Ok(Sample {
        tokens_per_second,
        peak_memory_bytes: report.peak_memory_bytes as f64,
        validation_loss: grade.validation_loss,
    })
}

/// Whether the adapters are what the reference's own training comes to.
pub(super) fn agrees(grade: &TrialGrade) -> Result<(), Objection> {
    let TrialGrade { deviation, tolerance, worst, .. } = grade;
    if !deviation.is_finite() {
        return Err(Objection::Foul(format!("judge: the adapters aren't all finite ({worst})")));
    }
    if *deviation <= *tolerance {
        return Ok(());
    }
    let reason = format!(
        "judge: the trained adapters are off by {deviation:.1e} from what the reference trains with the same seed, allowed is \
         {tolerance:.1e} ({worst})"
    );
    Err(if *deviation <= DOUBT * tolerance { Objection::Doubt(reason) } else { Objection::Foul(reason) })
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
            seconds: 0.9,
            losses: vec![5.0, 4.0],
            peak_memory_bytes: 1 << 20,
            active_memory_bytes: 1 << 19,
        }
    }

    fn grade() -> TrialGrade {
        TrialGrade {
            tokens: 1_000,
            validation_loss: 4.1,
            train_loss: 4.0,
            deviation: 1e-4,
            tolerance: 1e-2,
            worst: "model.layers.0.mlp.up_proj lora_a".to_owned(),
            floor_seconds: 0.001,
        }
    }

    fn judged(report: &TrialReport, grade: &TrialGrade, seconds: f64) -> Result<Sample, Objection> {
        judge(Evidence { kernel: Some("abc"), report, grade, seconds })
    }

    /// Of what no honest trial comes to.
    fn foul(report: &TrialReport, grade: &TrialGrade, seconds: f64) -> String {
        match judged(report, grade, seconds) {
            Err(Objection::Foul(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn speed_is_by_our_clock_and_the_graders_count() {
        let report = TrialReport { seconds: 1e-9, ..report() };
        let sample = judged(&report, &grade(), 2.0).unwrap();
        assert!((sample.tokens_per_second - 500.0).abs() < 1e-9);
        assert!((sample.validation_loss - 4.1).abs() < 1e-9);
    }

    #[test]
    fn a_kernel_that_was_not_applied_is_not_measured() {
        let changes: [fn(&mut TrialReport); 3] =
            [|r| r.kernel = "baseline".to_owned(), |r| r.kernel_layers = 0, |r| r.kernel_calls = 0];
        for change in changes {
            let mut report = report();
            change(&mut report);
            // Said first, whatever the adapters are like.
            for grade in [grade(), TrialGrade { deviation: 0.5, ..grade() }] {
                let reason = foul(&report, &grade, 1.0);
                assert!(reason.starts_with("kernel was not applied"), "{reason}");
            }
        }
    }

    #[test]
    fn adapters_that_the_reference_does_not_train_are_refused_by_the_judge() {
        let changes: [fn(&mut TrialGrade); 4] = [
            |g| g.deviation = 0.0201,
            |g| g.deviation = f64::NAN,
            |g| g.deviation = f64::INFINITY,
            |g| g.validation_loss = f64::NAN,
        ];
        for change in changes {
            let mut grade = grade();
            change(&mut grade);
            let reason = foul(&report(), &grade, 1.0);
            assert!(reason.starts_with("judge: "), "{reason}");
        }
        // A tolerance that is no number allows nothing.
        assert!(judged(&report(), &TrialGrade { tolerance: f64::NAN, ..grade() }, 1.0).is_err());
    }

    #[test]
    fn a_deviation_just_above_the_tolerance_is_a_doubt_if_nothing_else_is_wrong() {
        for deviation in [0.010_1, 0.02] {
            let grade = TrialGrade { deviation, ..grade() };
            let Err(Objection::Doubt(reason)) = judged(&report(), &grade, 1.0) else { panic!("{deviation}") };
            assert!(reason.starts_with("judge: ") && reason.contains("up_proj"), "{reason}");
            assert!(foul(&report(), &grade, 0.0009).starts_with("floor: "));
        }
        assert!(judged(&report(), &TrialGrade { deviation: 0.01, ..grade() }, 1.0).is_ok());
    }

    #[test]
    fn faster_than_physics_is_refused() {
        let reason = foul(&report(), &grade(), 0.0009);
        assert!(reason.starts_with("floor: "), "{reason}");
        assert!(judged(&report(), &grade(), 0.001).is_ok());
    }

    #[test]
    fn a_trial_without_tokens_or_memory_measured_nothing() {
        assert!(judged(&report(), &TrialGrade { tokens: 0, ..grade() }, 1.0).is_err());
        assert!(judged(&TrialReport { peak_memory_bytes: 0, ..report() }, &grade(), 1.0).is_err());
    }
}
