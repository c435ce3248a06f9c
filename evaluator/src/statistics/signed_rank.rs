//! The signed-rank test, and the estimate and interval that belong to it: robust against outliers, exact for small samples.
//!
//! Sources: F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945); J. L. Hodges, E. L. Lehmann,
//! "Estimates of location based on rank tests", Ann. Math. Statist. 34 (1963); J. W. Tukey for the averages named after Walsh. As
//! `SciPy`'s `wilcoxon(method="exact")`.

use super::median;

/// The test's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignedRank {
    /// Sum of the ranks of positive differences.
    pub t_plus: f64,
    /// Two-sided p-value.
    pub p_value: f64,
    /// One-sided p-value: small if differences are positive.
    pub p_greater: f64,
}

/// Exact test of differences that are symmetric about 0. `None` without differences, or if two have the same size or one is 0,
/// where the ranks' distribution is another.
#[expect(clippy::float_cmp, reason = "ties are exact")]
pub fn signed_rank(differences: &[f64]) -> Option<SignedRank> {
    let mut sorted = differences.to_vec();
    sorted.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
    let tied = sorted.windows(2).any(|pair| pair[0].abs() == pair[1].abs());
    if sorted.is_empty() || tied || sorted.iter().any(|value| *value == 0.0 || !value.is_finite()) {
        return None;
    }
    let t_plus: usize = sorted.iter().zip(1..).filter(|(value, _)| **value > 0.0).map(|(_, rank)| rank).sum();
    let ways = ways(sorted.len());
    let all: f64 = ways.iter().sum();
    let at_least = ways[t_plus..].iter().sum::<f64>() / all;
    let at_most = ways[..=t_plus].iter().sum::<f64>() / all;
    Some(SignedRank {
        t_plus: t_plus as f64,
        p_value: (2.0 * at_least.min(at_most)).min(1.0),
        p_greater: at_least,
    })
}

/// Sets of the ranks 1 to n by their sum.
fn ways(n: usize) -> Vec<f64> {
    let mut ways = vec![0.0; n * (n + 1) / 2 + 1];
    ways[0] = 1.0;
    for rank in 1..=n {
        for sum in (rank..ways.len()).rev() {
            ways[sum] += ways[sum - rank];
        }
    }
    ways
}

/// Means of all pairs of differences, each with itself too, in rising order: n(n + 1)/2 values.
pub fn walsh_averages(differences: &[f64]) -> Vec<f64> {
    let mut averages: Vec<f64> = differences
        .iter()
        .enumerate()
        .flat_map(|(index, a)| differences[index..].iter().map(move |b| 0.5 * (a + b)))
        .collect();
    averages.sort_unstable_by(f64::total_cmp);
    averages
}

/// The median of the Walsh averages; `None` without differences.
pub fn hodges_lehmann(differences: &[f64]) -> Option<f64> {
    median(&walsh_averages(differences))
}

/// How many Walsh averages lie outside the interval on each side: for twelve differences at 0.95 it is 13, so that the interval
/// goes from the 14th to the 65th of 78. `None` if even all of them don't cover enough (below six differences at 0.95).
pub fn signed_rank_order(n: usize, confidence: f64) -> Option<usize> {
    let ways = ways(n);
    let all: f64 = ways.iter().sum();
    let mut tail = 0.0;
    let outside = ways.iter().take_while(|ways| {
        tail += **ways / all;
        2.0 * tail <= 1.0 - confidence
    });
    outside.count().checked_sub(1)
}

/// Exact interval of the centre that the differences are symmetric about, with at least this confidence.
pub fn signed_rank_interval(differences: &[f64], confidence: f64) -> Option<(f64, f64)> {
    let order = signed_rank_order(differences.len(), confidence)?;
    let averages = walsh_averages(differences);
    Some((averages[order], averages[averages.len() - 1 - order]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_pairs_use_the_14th_and_65th_walsh_average() {
        assert_eq!(signed_rank_order(12, 0.95), Some(13));
        let differences: Vec<f64> = (0..12).map(|i| f64::from(i).exp()).collect();
        let averages = walsh_averages(&differences);
        assert_eq!(averages.len(), 78);
        assert_eq!(signed_rank_interval(&differences, 0.95), Some((averages[13], averages[64])));
    }

    #[test]
    fn five_pairs_are_too_few_for_95_percent() {
        assert_eq!((signed_rank_order(5, 0.95), signed_rank_order(6, 0.95)), (None, Some(0)));
        assert_eq!(signed_rank_interval(&[1.0; 5], 0.95), None);
        assert_eq!(signed_rank_interval(&[], 0.95), None);
    }

    #[test]
    fn ties_and_zeros_have_no_exact_test() {
        assert_eq!(signed_rank(&[1.0, -1.0, 2.0]), None);
        assert_eq!(signed_rank(&[0.0, 1.0]), None);
        assert_eq!(signed_rank(&[]), None);
    }
}
