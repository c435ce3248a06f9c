//! Changes numbers and truth values; numbers in any language, since they look much the same in all of them.

use std::ops::Range;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use search::Language;

use super::Edit;
use super::tree::{Kinded, Parsed};

/// A decimal number, or a truth value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Literal {
    range: Range<usize>,
    value: Value,
    /// `_f32`, `u8` and the like.
    suffix: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Integer(u64),
    Float(f64),
    /// The other word.
    Boolean(&'static str),
}

/// Rust's and Python's.
const BOOLEANS: [(&str, &str); 4] =
    [("true", "false"), ("false", "true"), ("True", "False"), ("False", "True")];

/// The literals that may change, in the order of the source.
pub(super) fn find(nodes: &[Kinded<'_>], parsed: &Parsed<'_>) -> Vec<Literal> {
    let literal = |range: Range<usize>| {
        let text = parsed.source.get(range.clone())?;
        let (value, suffix) = read(text)?;
        Some(Literal { range, value, suffix })
    };
    if parsed.language == Language::Other {
        return parsed.blocks().flat_map(|block| scan(parsed.source, block)).filter_map(literal).collect();
    }
    let is_literal = |kind: &str| {
        matches!(
            kind,
            "integer_literal" | "float_literal" | "boolean_literal" | "integer" | "float" | "true" | "false"
        )
    };
    nodes
        .iter()
        // `pair.0` names a field.
        .filter(|(_, node)| {
            is_literal(&node.kind()) && node.parent().is_none_or(|outer| outer.kind() != "field_expression")
        })
        .filter_map(|(_, node)| literal(node.range()))
        .collect()
}

/// Runs of digits, dots and exponents that don't continue a name.
fn scan(source: &str, block: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let bytes = source.as_bytes();
    let in_word =
        |at: usize| bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || !b.is_ascii());
    let digit = |at: usize| at < block.end && bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = block.start;
    while at < block.end {
        if !digit(at) || (at > 0 && (in_word(at - 1) || bytes.get(at - 1) == Some(&b'.'))) {
            at += 1;
            continue;
        }
        let start = at;
        while digit(at) || (bytes.get(at) == Some(&b'.') && digit(at + 1)) {
            at += 1;
        }
        if in_word(at) {
            // `0x1f`, `3rd`, `1e5`: left alone.
            while at < block.end && in_word(at) {
                at += 1;
            }
        } else {
            found.push(start..at);
        }
    }
    found
}

/// A literal's value and suffix; none for hexadecimal and the like.
fn read(text: &str) -> Option<(Value, String)> {
    if let Some((_, other)) = BOOLEANS.iter().find(|(word, _)| *word == text) {
        return Some((Value::Boolean(other), String::new()));
    }
    let end = text
        .char_indices()
        .find(|(at, c)| {
            let exponent = matches!(c, 'e' | 'E')
                && text[at + 1..].starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c));
            let sign = "+-".contains(*c) && text[..*at].ends_with(['e', 'E']);
            let underscore =
                *c == '_' && text[at + 1..].starts_with(|c: char| c.is_ascii_digit() || c == '_');
            !(c.is_ascii_digit() || *c == '.' || exponent || sign || underscore)
        })
        .map_or(text.len(), |(at, _)| at);
    let digits: String = text[..end].chars().filter(|c| *c != '_').collect();
    let suffix = text[end..].to_owned();
    let unit = suffix.trim_start_matches('_');
    // `0x`, `0b`, `0o`; imaginary numbers are fine to scale but rare enough to leave alone.
    if unit.starts_with(['x', 'b', 'o', 'X', 'B', 'O', 'j', 'J']) {
        return None;
    }
    let value = if digits.contains(['.', 'e', 'E']) || unit.starts_with('f') {
        Value::Float(digits.parse().ok()?)
    } else {
        Value::Integer(digits.parse().ok()?)
    };
    Some((value, suffix))
}

impl Literal {
    /// Where its digits are, without the suffix; none for a truth value.
    pub(super) fn digits(&self) -> Option<Range<usize>> {
        let is_number = !matches!(self.value, Value::Boolean(_));
        is_number.then(|| self.range.start..self.range.end - self.suffix.len())
    }

    /// Another value in its place.
    pub(super) fn vary(&self, rng: &mut ChaCha8Rng) -> Edit {
        let text = match self.value {
            Value::Integer(value) => vary_integer(value, rng).to_string(),
            Value::Float(value) => float_text(vary_float(value, rng)),
            Value::Boolean(other) => other.to_owned(),
        };
        Edit { range: self.range.clone(), text: format!("{text}{}", self.suffix) }
    }
}

fn vary_integer(value: u64, rng: &mut ChaCha8Rng) -> u64 {
    let varied = match rng.random_range(0..7) {
        0 => value.saturating_add(1),
        1 => value.saturating_sub(1),
        2 => value.saturating_mul(2),
        3 => value / 2,
        4 => value.saturating_mul(10),
        5 => value / 10,
        _ => (value as f64 * rng.random_range(0.5..2.0)).round() as u64,
    };
    if varied == value { value.saturating_add(1) } else { varied }
}

fn vary_float(value: f64, rng: &mut ChaCha8Rng) -> f64 {
    let varied = match rng.random_range(0..7) {
        0 => value + 1.0,
        1 => value - 1.0,
        2 => value * 2.0,
        3 => value / 2.0,
        4 => value * 10.0,
        5 => value / 10.0,
        _ => value * rng.random_range(0.5..2.0),
    };
    // A literal has no sign of its own; three digits are as fine as a jump needs to be.
    let varied: f64 = format!("{:.3e}", varied.abs()).parse().unwrap_or(value);
    if varied.is_finite() && varied.to_bits() != value.to_bits() { varied } else { value / 2.0 + 0.125 }
}

/// As Rust and Python both read it: always with a point or an exponent.
fn float_text(value: f64) -> String {
    let plain = value.to_string();
    match plain.len() {
        ..=12 if plain.contains('.') => plain,
        ..=12 => format!("{plain}.0"),
        _ => format!("{value:e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn literals_are_read_with_their_suffix() {
        for (text, value, suffix) in [
            ("12", Value::Integer(12), ""),
            ("1_000u64", Value::Integer(1000), "u64"),
            ("1.5", Value::Float(1.5), ""),
            ("1.", Value::Float(1.0), ""),
            ("2e-3", Value::Float(2e-3), ""),
            ("1.0_f32", Value::Float(1.0), "_f32"),
            ("3f32", Value::Float(3.0), "f32"),
        ] {
            assert_eq!(read(text), Some((value, suffix.to_owned())), "{text}");
        }
        for text in ["0xff", "0b1", "2j", "99999999999999999999999"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_varied_number_differs_and_keeps_its_kind() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for text in ["0", "1", "7u8", "0.0", "1.0f32", "1e-5", "3.25", "18446744073709551615", "1e300"] {
            let (value, suffix) = read(text).unwrap();
            let literal = Literal { range: 0..text.len(), value, suffix: suffix.clone() };
            for _ in 0..200 {
                let varied = literal.vary(&mut rng).text;
                let (new, new_suffix) = read(&varied).unwrap_or_else(|| panic!("{text} became {varied}"));
                assert_eq!(new_suffix, suffix);
                assert_eq!(
                    matches!(new, Value::Float(_)),
                    matches!(value, Value::Float(_)),
                    "{text} became {varied}"
                );
                assert!(new != value || text == "18446744073709551615", "{text} became {varied}");
            }
        }
    }

    #[test]
    fn numbers_of_unknown_languages_are_found_by_their_looks() {
        let source = "-- EVOLVE-BLOCK-START\nx1 = 12 + 3.5*y2(0x1f) - v.0 1..2\n-- EVOLVE-BLOCK-END\nz = 9\n";
        let parsed = Parsed::new(source, Language::Other).unwrap();
        let found: Vec<&str> =
            find(&[], &parsed).iter().map(|literal| &source[literal.range.clone()]).collect();
        assert_eq!(found, ["12", "3.5", "1"]);
    }
}
