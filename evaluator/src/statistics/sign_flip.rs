//! The exact sign-flip test: under a fair coin for each pair's order, all 2ⁿ signs of the differences are equally likely.
//!
//! Source: R. A. Fisher, "The Design of Experiments" (1935), §21.

/// Pairs whose signs can be counted one by one.
const MOST: usize = 24;

/// One-sided p-value: the share of signs whose sum is at least the observed one. `None` without differences, above 24 of them, or if
/// one isn't finite.
pub fn sign_flip(differences: &[f64]) -> Option<f64> {
    if differences.is_empty() || differences.len() > MOST || differences.iter().any(|d| !d.is_finite()) {
        return None;
    }
    let observed: f64 = differences.iter().sum();
    let size: f64 = differences.iter().map(|d| d.abs()).sum();
    // Sums that are equal but for rounding count as equal.
    let count = at_least(differences, 0.0, observed - 1e-12 * size);
    Some(count as f64 / (1_u64 << differences.len()) as f64)
}

fn at_least(differences: &[f64], sum: f64, bound: f64) -> u64 {
    match differences.split_first() {
        Some((first, rest)) => {
            at_least(rest, sum + first.abs(), bound) + at_least(rest, sum - first.abs(), bound)
        }
        None => u64::from(sum >= bound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_positive_is_one_of_two_to_the_n() {
        assert_eq!(sign_flip(&[0.3, 0.1, 0.2]), Some(0.125));
        assert_eq!(sign_flip(&[-0.3, -0.1, -0.2]), Some(1.0));
    }

    #[test]
    fn zeros_are_no_evidence() {
        assert_eq!(sign_flip(&[0.0; 4]), Some(1.0));
        assert_eq!(sign_flip(&[0.1, 0.0]), Some(0.5));
        assert_eq!(sign_flip(&[]), None);
    }
}
