//! Equivalence by two one-sided t-tests: significant only if the difference lies within the limits, so that lack of data is no proof.
//!
//! Differences are of logarithms, and a limit of 0.01 means ratios from 0.99 to 1.01: from ln 0.99 to ln 1.01.
//!
//! Source: D. J. Schuirmann, "A comparison of the two one-sided tests procedure and the power approach for assessing the
//! equivalence of average bioavailability", J. Pharmacokinet. Biopharm. 15 (1987).

use super::student::{Comparison, TTest};
use super::{compare, one_sample};

/// Both tests. Equivalent at level α if both p-values are below it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Equivalence {
    /// Candidate minus baseline.
    pub difference: f64,
    /// Against a difference at or below ln(1 − limit).
    pub p_lower: f64,
    /// Against a difference at or above ln(1 + limit).
    pub p_upper: f64,
    /// The 1 − 2α interval of the difference: within the limits exactly if both tests are significant at α.
    pub interval: (f64, f64),
}

/// Unpaired, by Welch's test. `None` where that has no answer.
pub fn equivalence(baseline: &[f64], candidate: &[f64], limit: f64, alpha: f64) -> Option<Equivalence> {
    both_sides(compare(baseline, candidate, 1.0 - 2.0 * alpha)?, limit, alpha)
}

/// Of paired differences. `None` below two of them.
pub fn equivalence_paired(differences: &[f64], limit: f64, alpha: f64) -> Option<Equivalence> {
    both_sides(one_sample(differences, 1.0 - 2.0 * alpha)?, limit, alpha)
}

fn both_sides(comparison: Comparison, limit: f64, alpha: f64) -> Option<Equivalence> {
    let (lowest, highest) = ((-limit).max(-1.0).ln_1p(), limit.ln_1p());
    let certain = |difference: f64| Equivalence {
        difference,
        p_lower: if difference > lowest { 0.0 } else { 1.0 },
        p_upper: if difference < highest { 0.0 } else { 1.0 },
        interval: (difference, difference),
    };
    match comparison {
        Comparison::Identical => Some(certain(0.0)),
        Comparison::Certain { difference } => Some(certain(difference)),
        Comparison::Tested(TTest { difference, error, degrees_of_freedom, interval, .. }) => {
            let above = TTest::new(difference - lowest, error, degrees_of_freedom, 1.0 - 2.0 * alpha)?;
            let below = TTest::new(highest - difference, error, degrees_of_freedom, 1.0 - 2.0 * alpha)?;
            Some(Equivalence { difference, p_lower: above.p_greater, p_upper: below.p_greater, interval })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_variance_the_difference_itself_decides() {
        let holds = |difference: f64| {
            let tests = equivalence_paired(&[difference; 6], 0.01, 0.05).unwrap();
            tests.p_lower < 0.05 && tests.p_upper < 0.05
        };
        assert!(holds(0.0) && holds(0.0099) && holds(-0.01));
        assert!(!holds(0.01) && !holds(-0.0101) && !holds(0.5));
    }

    #[test]
    fn noise_is_no_proof_of_equivalence() {
        let tests = equivalence_paired(&[0.05, -0.05, 0.04, -0.04, 0.02, -0.02], 0.01, 0.05).unwrap();
        assert!(tests.difference.abs() < 1e-12 && tests.p_lower > 0.05 && tests.p_upper > 0.05);
    }

    #[test]
    fn the_interval_agrees_with_the_tests() {
        for shift in [0.0, 0.004, 0.008, 0.012] {
            let differences: Vec<f64> = [0.001, -0.002, 0.003, 0.0, -0.001].map(|d| d + shift).to_vec();
            let tests = equivalence_paired(&differences, 0.01, 0.05).unwrap();
            let significant = tests.p_lower < 0.05 && tests.p_upper < 0.05;
            assert_eq!(
                significant,
                tests.interval.0 > 0.99_f64.ln() && tests.interval.1 < 1.01_f64.ln(),
                "shift {shift}"
            );
        }
    }
}
