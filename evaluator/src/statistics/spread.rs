//! The noise of one trial, from a series in which the machine may drift and some trials are outliers.
//!
//! Source: J. von Neumann et al., "The mean square successive difference", Ann. Math. Statist. 12 (1941), with the median in the
//! square's place for robustness.

use super::median;

/// 1.4826/√2: makes the median |difference| of neighbours the standard deviation of normal values.
pub const NORMAL_CONSISTENCY: f64 = 1.0484;

/// Standard deviation of one value from the sizes of successive differences; `None` without any.
pub fn robust_deviation(sizes: &[f64]) -> Option<f64> {
    median(sizes).map(|median| NORMAL_CONSISTENCY * median)
}
