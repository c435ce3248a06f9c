//! Numbers for people.

/// A metric's value with its unit, as far as its name tells one.
pub(crate) fn quantity(metric: &str, value: f64) -> String {
    if metric.ends_with("_bytes") {
        bytes(value)
    } else if metric.ends_with("_per_second") {
        format!("{value:.0}/s")
    } else if metric.ends_with("_seconds") {
        format!("{value:.3} s")
    } else {
        format!("{value:.4}")
    }
}

/// A number of bytes for people.
pub fn bytes(count: f64) -> String {
    let (value, unit) = match count.abs() {
        size if size >= 1e9 => (count / 1e9, "GB"),
        size if size >= 1e6 => (count / 1e6, "MB"),
        size if size >= 1e3 => (count / 1e3, "kB"),
        _ => (count, "B"),
    };
    format!("{value:.1} {unit}")
}

/// `+3.1 %`.
pub(crate) fn signed(share: f64) -> String {
    // `+ 0.0` turns -0.0 into 0.0.
    format!("{:+.1} %", (share * 1000.0).round() / 10.0 + 0.0)
}

/// `3.1 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// ` [+1.0, +4.9]`, in percent; nothing without an interval.
pub(crate) fn interval(interval: Option<(f64, f64)>) -> String {
    interval.map_or_else(String::new, |(low, high)| format!(" [{:+.1}, {:+.1}]", low * 100.0, high * 100.0))
}

/// `p = 0.0257`.
pub(crate) fn p_value(p: f64) -> String {
    if p < 1e-4 { "p < 0.0001".to_owned() } else { format!("p = {p:.4}") }
}

/// Three digits that count, as evidence and levels need them.
pub(crate) fn three_digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-4..1e6).contains(&size) => format!("{value:.1e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size => format!("{value:.*}", (2.0 - size.log10().floor()) as usize),
    }
}

/// `1 trial`, `2 trials`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// A metric in words.
pub(crate) fn metric_name(metric: &str) -> String {
    match metric {
        "tokens_per_second" => "speed (tokens per second)".to_owned(),
        "peak_memory_bytes" => "peak memory".to_owned(),
        other => other.replace('_', " "),
    }
}

/// The middle one, or the mean of the middle two; none of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_numbers_keep_three_digits() {
        let shown = [0.0, 0.002_38, 0.05, 1.0, 12.34, 839.2, 123_456.0, 3.2e9, 1e-7].map(three_digits);
        assert_eq!(shown, ["0", "0.00238", "0.0500", "1.00", "12.3", "839", "123456", "3.2e9", "1.0e-7"]);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0, 10.0]), Some(2.5));
        assert_eq!((median(&[4.0]), median(&[])), (Some(4.0), None));
    }

    #[test]
    fn nothing_is_never_minus_nothing() {
        assert_eq!(
            (signed(-0.000_01), signed(0.031), signed(-0.5)),
            ("+0.0 %".into(), "+3.1 %".into(), "-50.0 %".into())
        );
    }
}
