//! Medians of evaluations to a target, where some runs never got there.

/// The median, and its interval with a confidence of at least 95 % by order statistics: it assumes nothing about the
/// distribution. Runs that didn't reach the target have the budget's value, so the median of too many is "more than that".
pub(crate) fn median(values: &[u64]) -> (u64, u64, u64) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let n = sorted.len();
    // The largest k for which P(Binomial(n, 1/2) < k) is at most 2.5 %.
    let mut term = 0.5_f64.powf(n as f64);
    let (mut below, mut k) = (term, 0);
    while below <= 0.025 && k < n / 2 {
        k += 1;
        term *= (n - k + 1) as f64 / k as f64;
        below += term;
    }
    (sorted[(n - 1) / 2].midpoint(sorted[n / 2]), sorted[k.saturating_sub(1)], sorted[n - k.max(1)])
}

/// The z value of Mann and Whitney's rank sum test with ties: positive if `one` tends to be larger.
pub(crate) fn rank_sum(one: &[u64], two: &[u64]) -> f64 {
    let (m, n) = (one.len() as f64, two.len() as f64);
    let wins: f64 = one
        .iter()
        .flat_map(|a| two.iter().map(move |b| f64::from(u8::from(a > b)) + 0.5 * f64::from(u8::from(a == b))))
        .sum();
    let mut all: Vec<u64> = one.iter().chain(two).copied().collect();
    all.sort_unstable();
    let ties: f64 =
        all.chunk_by(|a, b| a == b).map(|tie| (tie.len() as f64).powi(3) - tie.len() as f64).sum();
    let total = m + n;
    let variance = m * n / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance > 0.0 { (wins - m * n / 2.0) / variance.sqrt() } else { 0.0 }
}
