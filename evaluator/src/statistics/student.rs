//! Student's t: Welch's test of two samples, and the test of one sample (or of paired differences).
//!
//! Sources: B. L. Welch, "The generalization of 'Student's' problem when several different population variances are involved",
//! Biometrika 34 (1947); degrees of freedom by F. E. Satterthwaite, "An approximate distribution of estimates of variance
//! components", Biometrics Bulletin 2 (1946). As `SciPy`'s `ttest_ind(equal_var=False)`, `ttest_1samp` and `ttest_rel`.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{mean, variance};

/// What samples say about a difference of means, candidate minus baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Comparison {
    /// A t-test was made.
    Tested(TTest),
    /// Nothing varies and the means are the same: there is nothing to test.
    Identical,
    /// Nothing varies and the means differ. With a noise-free metric (MLX's allocator counts the same bytes every time) that is
    /// no chance: the difference is certain, and t is not defined.
    Certain {
        /// Candidate minus baseline.
        difference: f64,
    },
}

/// A test's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TTest {
    /// Candidate minus baseline.
    pub difference: f64,
    /// The difference's standard error.
    pub error: f64,
    /// The statistic.
    pub t: f64,
    /// Degrees of freedom; for Welch's test Satterthwaite's.
    pub degrees_of_freedom: f64,
    /// Two-sided p-value.
    pub p_value: f64,
    /// One-sided p-value: small if the candidate's mean is larger.
    pub p_greater: f64,
    /// Interval of `difference` at the level asked for.
    pub interval: (f64, f64),
}

impl TTest {
    pub(crate) fn new(difference: f64, error: f64, degrees_of_freedom: f64, confidence: f64) -> Option<Self> {
        let t = difference / error;
        let distribution = StudentsT::new(0.0, 1.0, degrees_of_freedom).ok()?;
        let margin = -distribution.inverse_cdf((1.0 - confidence) / 2.0) * error;
        Some(Self {
            difference,
            error,
            t,
            degrees_of_freedom,
            p_value: 2.0 * distribution.cdf(-t.abs()),
            p_greater: distribution.cdf(-t),
            interval: (difference - margin, difference + margin),
        })
    }

    /// Quantile of Student's t.
    pub(crate) fn quantile(probability: f64, degrees_of_freedom: f64) -> Option<f64> {
        Some(StudentsT::new(0.0, 1.0, degrees_of_freedom).ok()?.inverse_cdf(probability))
    }
}

/// Welch's t-test. `confidence` is the interval's, e.g. 0.95. `None` if a sample has fewer than two values, or one that isn't
/// finite.
#[expect(clippy::float_cmp, reason = "samples without variance are equal exactly or not at all")]
pub fn compare(baseline: &[f64], candidate: &[f64], confidence: f64) -> Option<Comparison> {
    if baseline.iter().chain(candidate).any(|value| !value.is_finite()) {
        return None;
    }
    let difference = mean(candidate)? - mean(baseline)?;
    let squared_error = |sample: &[f64]| variance(sample).map(|variance| variance / sample.len() as f64);
    let (error_baseline, error_candidate) = (squared_error(baseline)?, squared_error(candidate)?);
    let error = error_baseline + error_candidate;
    if error == 0.0 {
        let same = baseline[0] == candidate[0];
        return Some(if same {
            Comparison::Identical
        } else {
            Comparison::Certain { difference: candidate[0] - baseline[0] }
        });
    }
    let share = |squared: f64, sample: &[f64]| squared.powi(2) / (sample.len() - 1) as f64;
    let degrees_of_freedom =
        error.powi(2) / (share(error_baseline, baseline) + share(error_candidate, candidate));
    TTest::new(difference, error.sqrt(), degrees_of_freedom, confidence).map(Comparison::Tested)
}

/// The t-test of one sample's mean, for example of paired differences, against 0. `None` below two values, or if one isn't finite.
pub fn one_sample(differences: &[f64], confidence: f64) -> Option<Comparison> {
    if differences.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let variance = variance(differences)?;
    if variance == 0.0 {
        let difference = differences[0];
        return Some(if difference == 0.0 {
            Comparison::Identical
        } else {
            Comparison::Certain { difference }
        });
    }
    let n = differences.len() as f64;
    TTest::new(mean(differences)?, (variance / n).sqrt(), n - 1.0, confidence).map(Comparison::Tested)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_identical_or_certainly_different() {
        assert_eq!(compare(&[3.0; 5], &[3.0; 5], 0.95), Some(Comparison::Identical));
        assert_eq!(compare(&[3.0; 5], &[2.0; 5], 0.95), Some(Comparison::Certain { difference: -1.0 }));
        // 0.1 summed five times is not 0.5: rounding must not become variance.
        assert_eq!(compare(&[0.1; 5], &[0.1; 3], 0.95), Some(Comparison::Identical));
        assert_eq!(one_sample(&[0.0; 3], 0.95), Some(Comparison::Identical));
        assert_eq!(one_sample(&[0.1; 3], 0.95), Some(Comparison::Certain { difference: 0.1 }));
    }

    #[test]
    fn one_constant_arm_is_still_a_welch_test() {
        let Some(Comparison::Tested(welch)) = compare(&[1.0, 1.0, 1.0], &[2.0, 2.1, 2.2], 0.95) else {
            panic!("no test was made");
        };
        assert!((welch.degrees_of_freedom - 2.0).abs() < 1e-12);
        assert!(welch.p_value < 0.01);
    }

    #[test]
    fn too_small_or_unusable_samples_give_nothing() {
        assert_eq!(compare(&[1.0], &[1.0, 2.0], 0.95), None);
        assert_eq!(compare(&[1.0, f64::NAN], &[1.0, 2.0], 0.95), None);
        assert_eq!(compare(&[1.0, f64::INFINITY], &[1.0, 2.0], 0.95), None);
        assert_eq!(one_sample(&[1.0], 0.95), None);
        assert_eq!((mean(&[]), variance(&[1.0])), (None, None));
    }
}
