//! Estimates drawn towards zero by their uncertainty, so that the best of many is not merely the luckiest.
//!
//! Source: the posterior mean of a normal effect under a normal prior; B. Efron, C. Morris, "Stein's estimation rule and its
//! competitors", JASA 68 (1973).

/// `estimate`·τ²/(τ² + se²), where τ (`prior`) is the standard deviation of true effects and se² (`variance`) the estimate's.
pub fn shrink(estimate: f64, variance: f64, prior: f64) -> f64 {
    estimate * prior * prior / (prior * prior + variance)
}
