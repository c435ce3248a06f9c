//! The Mann–Whitney U test: exact for small samples without ties, else by the normal distribution with corrections for ties and
//! continuity.
//!
//! Source: H. B. Mann, D. R. Whitney, "On a test of whether one of two random variables is stochastically larger than the other",
//! Ann. Math. Statist. 18 (1947). As `SciPy`'s `mannwhitneyu`. Written here because statrs 0.19's exact p-value is wrong for groups
//! of equal size (1.0 for two groups of five that don't overlap; right is 0.008).

use statrs::distribution::{ContinuousCDF, Normal};

/// The test's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannWhitney {
    /// Pairs in which the candidate is larger; equal ones count a half.
    pub u: f64,
    /// Two-sided p-value.
    pub p_value: f64,
    /// One-sided p-value: small if the candidate's values are larger.
    pub p_greater: f64,
    /// Whether the p-values are exact.
    pub exact: bool,
}

/// Exact if there are no ties and one sample has at most eight values, as `SciPy` decides. `None` for an empty sample, a value that
/// isn't finite, or all values equal.
pub fn mann_whitney(baseline: &[f64], candidate: &[f64]) -> Option<MannWhitney> {
    let small = baseline.len() <= 8 || candidate.len() <= 8;
    if small && tie_sizes(baseline, candidate).iter().all(|size| *size == 1) {
        mann_whitney_exact(baseline, candidate)
    } else {
        mann_whitney_asymptotic(baseline, candidate, true)
    }
}

/// From the number of orders with at least this U. Right only without ties.
pub fn mann_whitney_exact(baseline: &[f64], candidate: &[f64]) -> Option<MannWhitney> {
    let u = statistic(baseline, candidate)?;
    let (n, m) = (candidate.len(), baseline.len());
    let ways = ways(n, m);
    let all: f64 = ways.iter().sum();
    let at_least = |u: f64| ways.iter().skip(u.ceil().max(0.0) as usize).sum::<f64>() / all;
    let larger = u.max((n * m) as f64 - u);
    Some(MannWhitney {
        u,
        p_value: (2.0 * at_least(larger)).min(1.0),
        p_greater: at_least(u).min(1.0),
        exact: true,
    })
}

/// From the normal distribution.
pub fn mann_whitney_asymptotic(baseline: &[f64], candidate: &[f64], continuity: bool) -> Option<MannWhitney> {
    let u = statistic(baseline, candidate)?;
    let (n, m) = (candidate.len() as f64, baseline.len() as f64);
    let all = n + m;
    let ties: f64 =
        tie_sizes(baseline, candidate).iter().map(|size| (*size as f64).powi(3) - *size as f64).sum();
    let deviation = (n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)))).sqrt();
    if deviation.is_nan() || deviation <= 0.0 {
        return None;
    }
    let normal = Normal::standard();
    let correction = if continuity { 0.5 } else { 0.0 };
    let above = |u: f64| normal.sf((u - n * m / 2.0 - correction) / deviation);
    let larger = u.max(n * m - u);
    Some(MannWhitney { u, p_value: (2.0 * above(larger)).min(1.0), p_greater: above(u), exact: false })
}

fn statistic(baseline: &[f64], candidate: &[f64]) -> Option<f64> {
    let usable = |sample: &[f64]| !sample.is_empty() && sample.iter().all(|value| value.is_finite());
    if !usable(baseline) || !usable(candidate) {
        return None;
    }
    let wins = |c: &f64| -> f64 {
        baseline
            .iter()
            .map(|b| {
                if c > b {
                    1.0
                } else if c < b {
                    0.0
                } else {
                    0.5
                }
            })
            .sum()
    };
    Some(candidate.iter().map(wins).sum())
}

/// How many values share each value.
#[expect(clippy::float_cmp, reason = "ties are exact")]
fn tie_sizes(baseline: &[f64], candidate: &[f64]) -> Vec<usize> {
    let mut all = [baseline, candidate].concat();
    all.sort_unstable_by(f64::total_cmp);
    all.chunk_by(|a, b| a == b).map(<[f64]>::len).collect()
}

/// Orders of n and m values by their U, from 0 to n·m: U is a sum of n numbers in rising order from 0 to m.
fn ways(n: usize, m: usize) -> Vec<f64> {
    // ways[k][u]: k values of the candidate are placed; each further value of the baseline lies above those.
    let mut ways = vec![vec![0.0; n * m + 1]; n + 1];
    ways[0][0] = 1.0;
    for above in 0..=m {
        for k in 1..=n {
            for u in above..=n * m {
                ways[k][u] += ways[k - 1][u - above];
            }
        }
    }
    ways.swap_remove(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_above_five_is_the_rarest_of_252_orders() {
        let test = mann_whitney(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0]).unwrap();
        assert!(test.exact && (test.u - 25.0).abs() < 1e-12);
        assert!((test.p_value - 2.0 / 252.0).abs() < 1e-15 && (test.p_greater - 1.0 / 252.0).abs() < 1e-15);
    }

    #[test]
    fn all_orders_are_counted() {
        for (n, m, orders) in [(1, 1, 2.0), (3, 2, 10.0), (5, 5, 252.0), (7, 7, 3432.0), (8, 20, 3_108_105.0)]
        {
            assert_eq!(ways(n, m).iter().sum::<f64>().to_bits(), f64::to_bits(orders), "{n} and {m}");
        }
    }

    #[test]
    fn equal_values_everywhere_give_nothing() {
        assert_eq!(mann_whitney(&[1.0; 4], &[1.0; 4]), None);
        assert_eq!(mann_whitney(&[], &[1.0]), None);
    }
}
