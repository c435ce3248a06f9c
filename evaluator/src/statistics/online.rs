//! Levels for claims that are made one after another, so that of all claims of a run few are false.
//!
//! Source: Z. Xu, A. Ramdas, "Online multiple testing with e-values" (2024), e-LOND: with `α_t = α·γ_t·(R + 1)`, where the γ sum to 1 and R
//! counts the earlier claims, the false discovery rate is at most α under any dependence between the e-values.

/// The level of the `test`-th test (from 1) after `claims` claims: α(R + 1)K/((t + K − 1)(t + K)). K is the patience: half of
/// the weight goes to the first K tests. A claim needs E ≥ 1/level.
pub fn e_lond_level(alpha: f64, patience: u32, test: u32, claims: u32) -> f64 {
    let (k, t) = (f64::from(patience), f64::from(test));
    alpha * f64::from(claims + 1) * k / ((t + k - 1.0) * (t + k))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_sum_to_one() {
        let sum: f64 = (1..=1_000_000).map(|test| e_lond_level(1.0, 20, test, 0)).sum();
        assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        let half: f64 = (1..=20).map(|test| e_lond_level(1.0, 20, test, 0)).sum();
        assert!((half - 0.5).abs() < 1e-12, "{half}");
    }

    #[test]
    fn the_first_claim_needs_evidence_of_420_on_the_mean_of_the_metrics() {
        assert!((1.0 / e_lond_level(0.05, 20, 1, 0) - 420.0).abs() < 1e-9);
        assert!((e_lond_level(0.05, 20, 7, 2) / e_lond_level(0.05, 20, 7, 0) - 3.0).abs() < 1e-12);
    }
}
