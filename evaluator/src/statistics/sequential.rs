//! Bounds for the mean of differences that is looked at after each one.
//!
//! Source: A. Wald, "Sequential tests of statistical hypotheses", Ann. Math. Statist. 16 (1945): the probability ratio test of an effect
//! of 0 against one of δ with known deviation, here written for the mean and cut off after a few looks.

/// Where to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// At or below: no effect.
    pub lower: f64,
    /// At or above: an effect. Infinite if that is not to be decided.
    pub upper: f64,
    /// δ/2: what decides at the last look.
    pub middle: f64,
}

/// Bounds for the mean of `n` differences with standard deviation `deviation`, for the effect
/// δ = max(`relative` · deviation, `least`). `miss` is the probability to stop below although the effect is δ, `pass` that to stop above
/// although there is none (`None`: never).
pub fn wald_bounds(
    n: u32,
    deviation: f64,
    relative: f64,
    least: f64,
    miss: f64,
    pass: Option<f64>,
) -> Bounds {
    let effect = (relative * deviation).max(least);
    let middle = effect / 2.0;
    let width = |error: f64| deviation * deviation * (1.0 / error).ln() / (f64::from(n) * effect);
    Bounds {
        lower: middle - width(miss),
        upper: pass.map_or(f64::INFINITY, |pass| middle + width(pass)),
        middle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screening_bounds_in_deviations_are_the_documented_ones() {
        let bounds = |n| wald_bounds(n, 1.0, 1.25, 0.01, 0.3, Some(0.2));
        let close = |ours: f64, theirs: f64| (ours - theirs).abs() < 0.006;
        assert!(close(bounds(1).lower, -0.34) && close(bounds(1).upper, 1.91));
        assert!(close(bounds(2).lower, 0.14) && close(bounds(2).upper, 1.27));
        assert!(close(bounds(3).middle, 0.625));
    }

    #[test]
    fn little_noise_leaves_the_least_effect() {
        let bounds = wald_bounds(1, 0.001, 1.25, 0.01, 0.3, None);
        assert!((bounds.middle - 0.005).abs() < 1e-15 && bounds.upper.is_infinite());
    }
}
