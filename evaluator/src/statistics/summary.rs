//! Means, medians, quantiles and spreads of a sample.

/// Arithmetic mean; `None` for an empty sample.
pub fn mean(sample: &[f64]) -> Option<f64> {
    (!sample.is_empty()).then(|| sample.iter().sum::<f64>() / sample.len() as f64)
}

/// Unbiased sample variance (n − 1); `None` below two values.
#[expect(clippy::float_cmp, reason = "a noise-free metric repeats exactly, and only then")]
pub fn variance(sample: &[f64]) -> Option<f64> {
    if sample.len() < 2 {
        return None;
    }
    // Equal values have no variance at all, whatever rounding makes of their mean.
    if sample.iter().all(|value| *value == sample[0]) {
        return Some(0.0);
    }
    let mean = mean(sample)?;
    let squares: f64 = sample.iter().map(|value| (value - mean).powi(2)).sum();
    Some(squares / (sample.len() - 1) as f64)
}

/// Sample standard deviation; `None` below two values.
pub fn standard_deviation(sample: &[f64]) -> Option<f64> {
    variance(sample).map(f64::sqrt)
}

/// The middle value, or the mean of both; `None` for an empty sample.
pub fn median(sample: &[f64]) -> Option<f64> {
    let mut sorted = sample.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(0.5 * (sorted[middle - 1] + sorted[middle])),
    }
}

/// The `q`-quantile of values in rising order, interpolated linearly as `NumPy` does; `None` if there are none or `q` isn't from 0
/// to 1.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    if sorted.is_empty() || !(0.0..=1.0).contains(&q) {
        return None;
    }
    let position = q * (sorted.len() - 1) as f64;
    let below = position.floor();
    let (low, high) = (sorted[below as usize], sorted[position.ceil() as usize]);
    let share = position - below;
    // As NumPy does it, from the nearer end.
    Some(if share < 0.5 { low + (high - low) * share } else { high - (high - low) * (1.0 - share) })
}
