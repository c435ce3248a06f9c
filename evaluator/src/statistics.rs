//! Means, spreads and Welch's t-test.
//!
//! Pure functions. Sources: B. L. Welch, "The generalization of 'Student's' problem when several different
//! population variances are involved", Biometrika 34 (1947); degrees of freedom by F. E. Satterthwaite, "An
//! approximate distribution of estimates of variance components", Biometrics Bulletin 2 (1946). Student's t
//! distribution is statrs'. Values agree with `SciPy`'s `ttest_ind(equal_var=False)`, see the tests.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Arithmetic mean; `None` for an empty sample.
pub fn mean(sample: &[f64]) -> Option<f64> {
    (!sample.is_empty()).then(|| sample.iter().sum::<f64>() / sample.len() as f64)
}

/// Unbiased sample variance (n − 1); `None` below two values.
#[expect(clippy::float_cmp, reason = "a noise-free metric repeats exactly, and only then")]
pub fn variance(sample: &[f64]) -> Option<f64> {
    if sample.len() < 2 {
        return None;
    }
    // Equal values have no variance at all, whatever rounding makes of their mean.
    if sample.iter().all(|value| *value == sample[0]) {
        return Some(0.0);
    }
    let mean = mean(sample)?;
    let squares: f64 = sample.iter().map(|value| (value - mean).powi(2)).sum();
    Some(squares / (sample.len() - 1) as f64)
}

/// Sample standard deviation; `None` below two values.
pub fn standard_deviation(sample: &[f64]) -> Option<f64> {
    variance(sample).map(f64::sqrt)
}

/// What two samples say about the difference of their means, candidate minus baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Comparison {
    /// Welch's t-test.
    Welch(Welch),
    /// Neither sample varies and the means are the same: there is nothing to test.
    Identical,
    /// Neither sample varies and the means differ. With a noise-free metric (MLX's allocator counts the same
    /// bytes every time) that is no chance: the difference is certain, and t is not defined.
    Certain {
        /// Candidate minus baseline.
        difference: f64,
    },
}

/// The test's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Welch {
    /// Candidate minus baseline.
    pub difference: f64,
    /// The statistic.
    pub t: f64,
    /// Welch–Satterthwaite degrees of freedom.
    pub degrees_of_freedom: f64,
    /// Two-sided p-value.
    pub p_value: f64,
    /// Interval of `difference` at the level asked for.
    pub interval: (f64, f64),
}

/// Welch's t-test, two-sided. `confidence` is the interval's, e.g. 0.95. `None` if a sample has fewer than two
/// values, or one that isn't finite.
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
    let t = difference / error.sqrt();
    let distribution = StudentsT::new(0.0, 1.0, degrees_of_freedom).ok()?;
    let p_value = 2.0 * distribution.cdf(-t.abs());
    let margin = -distribution.inverse_cdf((1.0 - confidence) / 2.0) * error.sqrt();
    let interval = (difference - margin, difference + margin);
    Some(Comparison::Welch(Welch { difference, t, degrees_of_freedom, p_value, interval }))
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
    }

    #[test]
    fn one_constant_arm_is_still_a_welch_test() {
        let Some(Comparison::Welch(welch)) = compare(&[1.0, 1.0, 1.0], &[2.0, 2.1, 2.2], 0.95) else {
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
        assert_eq!((mean(&[]), variance(&[1.0])), (None, None));
    }
}
