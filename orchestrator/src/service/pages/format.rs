//! Numbers, times and stored texts, as pages show them.

use maud::{Markup, html};

use crate::report::numbers::signed;
use crate::text::{printable, utc};

/// Stored text, with control characters made visible. maud escapes what HTML would take for its own.
pub(crate) fn visible(text: &str) -> String {
    printable(text)
}

/// At most so many characters of the first line, the rest as an ellipsis.
pub(crate) fn short(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut result: String = visible(line).chars().take(most).collect();
    if line.chars().count() > most || text.lines().nth(1).is_some() {
        result.push('…');
    }
    result
}

/// `12 345`, with narrow spaces that don't break.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut result = String::with_capacity(digits.len() + 4);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            result.push('\u{202f}');
        }
        result.push(digit);
    }
    result
}

/// A moment: UTC, to the second.
pub(crate) fn moment(milliseconds: i64) -> Markup {
    let exact = utc(milliseconds);
    let shown = exact.replace('T', " ").trim_end_matches('Z').to_owned();
    html! { time datetime=(exact) title=(exact) { (shown) } }
}

/// `3 h 05 min`, `4 min 10 s`, `12 s`, `0.4 s`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", count(whole / 3_600), whole % 3_600 / 60),
    }
}

/// An amount in the currency of the configured prices, which isn't known here.
pub(crate) fn money(amount: f64) -> String {
    if amount != 0.0 && amount.abs() < 0.1 { format!("{amount:.4}") } else { format!("{amount:.2}") }
}

/// A share in percent without its sign's plus.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{:.0} %", part as f64 * 100.0 / whole as f64) }
}

/// A score.
pub(crate) fn score(value: f64) -> String {
    crate::plot::score(value)
}

/// A relative change, `+3.1 %`.
pub(crate) fn change(share: f64) -> String {
    signed(share)
}

/// An outcome's kind in words.
pub(crate) fn kind(kind: Option<&str>) -> &str {
    match kind {
        None => "pending",
        Some("no_proposal") => "no proposal",
        Some("patch") => "patch doesn't apply",
        Some("no_change") => "no change",
        Some("near_duplicate") => "near duplicate",
        Some("gate") => "refused by the gate",
        Some("compile") => "doesn't compile",
        Some("crash") => "crashed",
        Some("timeout") => "timed out",
        Some("out_of_memory") => "out of memory",
        Some("wrong_result") => "wrong result",
        Some("loss_drift") => "loss drifted",
        Some(other) => other,
    }
}

/// A verdict, or why there is none, as a label: the shape of its sign says it as well as the colour.
pub(crate) fn badge(of_kind: Option<&str>, verdict: Option<&str>) -> Markup {
    let (class, sign, word) = match (of_kind, verdict) {
        (_, Some("improved")) => ("good", "▲", "improved"),
        (_, Some("regressed")) => ("bad", "▼", "regressed"),
        (_, Some(other)) => ("plain", "●", other),
        (None, None) => ("plain", "○", "pending"),
        (Some("measured"), None) => ("plain", "●", "measured"),
        (Some(_), None) => ("fail", "×", kind(of_kind)),
    };
    html! { span class={ "badge " (class) } { span aria-hidden="true" { (sign) } " " (word) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
    }

    #[test]
    fn times_have_two_units_at_most() {
        assert_eq!(
            [0.42, 12.0, 250.0, 11_100.0].map(duration),
            ["0.4 s", "12 s", "4 min 10 s", "3 h 05 min"]
        );
    }

    #[test]
    fn stored_text_is_cut_at_its_first_line_and_made_visible() {
        assert_eq!(short("a\x1b[31m b\nc", 30), "a\\u{1b}[31m b…");
        assert_eq!(short("abcdef", 3), "abc…");
        assert_eq!(short("abc", 3), "abc");
    }
}
