//! Evidence from randomised pairs that may be looked at after each one.
//!
//! A coin decides which arm of a pair runs first, so without an effect the sign of the pair's difference is a fair coin, given its
//! size and all that went before, whatever the noise or drift. A bet on the sign with fair odds multiplies the evidence E by a
//! factor of mean 1: E is a test martingale, and P(E ever reaches 1/α) ≤ α (J. Ville, "Étude critique de la notion de collectif", 1939).
//! Source: randomisation e-processes, arXiv:2512.04366.

use super::median;

/// Differences below this are taken for this size, so that a first difference of 0 divides nothing by 0.
const SMALLEST: f64 = 1e-9;

/// ln of the factor for the last of the differences: ln(2/(1 + exp(−bet·d/m))), where m is the median size so far. 0 for d = 0, at most
/// ln 2. Without differences 0.
pub fn flip_log_factor(differences: &[f64], bet: f64) -> f64 {
    let sizes: Vec<f64> = differences.iter().map(|d| d.abs()).collect();
    match (differences.last(), median(&sizes)) {
        (Some(last), Some(size)) => log_factor(-bet * last / size.max(SMALLEST)),
        _ => 0.0,
    }
}

/// ln of the factor for a pair that the candidate lost by failing: as for a difference of minus the median size; ln 0.152 for a bet
/// of 2.5.
pub fn flip_log_factor_lost(bet: f64) -> f64 {
    log_factor(bet)
}

fn log_factor(against: f64) -> f64 {
    // Beyond 30, ln(1 + exp(x)) is x.
    let log = if against < 30.0 { against.exp().ln_1p() } else { against };
    std::f64::consts::LN_2 - log
}

/// ln of the mean of E over several metrics, from their logarithms: a mean of e-values is an e-value, however they depend on each
/// other. `None` without any.
pub fn log_mean(logs: &[f64]) -> Option<f64> {
    let largest = logs.iter().copied().reduce(f64::max)?;
    let sum: f64 = logs.iter().map(|log| (log - largest).exp()).sum();
    Some(largest + sum.ln() - (logs.len() as f64).ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_and_its_opposite_average_to_a_factor_of_one() {
        for size in [0.0, 1e-12, 0.01, 0.3, 50.0] {
            let factor = |d: f64| flip_log_factor(&[0.02, -0.03, d], 2.5).exp();
            assert!((0.5 * (factor(size) + factor(-size)) - 1.0).abs() < 1e-12, "size {size}");
        }
    }

    #[test]
    fn a_zero_changes_nothing_and_no_factor_is_above_two() {
        assert!(flip_log_factor(&[0.0], 2.5).abs() < 1e-15 && flip_log_factor(&[], 2.5).abs() < 1e-15);
        assert!(flip_log_factor(&[0.01, 1e9], 2.5) <= std::f64::consts::LN_2);
        assert!(flip_log_factor(&[0.01, -1e9], 2.5).is_finite());
    }

    #[test]
    fn a_failed_pair_costs_as_much_as_a_loss_of_median_size() {
        assert!((flip_log_factor_lost(2.5).exp() - 0.1517).abs() < 1e-4);
    }

    #[test]
    fn the_mean_of_evidence_is_taken_without_overflow() {
        assert_eq!(log_mean(&[3.25]), Some(3.25));
        assert!((log_mean(&[2000.0, 0.0]).unwrap() - (2000.0 - 2.0_f64.ln())).abs() < 1e-9);
        assert_eq!(log_mean(&[]), None);
    }
}
