//! Text from programs, models and compilers, made safe for a terminal.

/// Control characters (but for line ends and tabs) as visible escapes, so that a source or a reply can't move the
/// cursor, change colours or retitle the window.
pub(crate) fn printable(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => result.push(character),
            // Direction overrides can make code read differently from what it is.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => result.extend(character.escape_unicode()),
            _ if character.is_control() => result.extend(character.escape_default()),
            _ => result.push(character),
        }
    }
    result
}

/// The same on one line, whatever it is.
pub(crate) fn on_one_line(text: &str) -> String {
    printable(text).replace(['\n', '\t'], " ")
}

/// A span of time for people, in its two largest units: `3 s`, `12 min 5 s`, `2 h 14 min`.
pub(crate) fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, min, s) => format!("{min} min {s} s"),
        (0, h, min, _) => format!("{h} h {min} min"),
        (d, h, ..) => format!("{d} d {h} h"),
    }
}

/// Milliseconds since the Unix epoch as `2026-11-23T20:44:48Z`.
pub(crate) fn utc(milliseconds: i64) -> String {
    let since_epoch = std::time::Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default());
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since_epoch).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_are_shown_not_obeyed() {
        assert_eq!(printable("a\x1b[31mred\r\n\tb\u{202e}"), "a\\u{1b}[31mred\\r\n\tb\\u{202e}");
    }

    #[test]
    fn spans_have_their_two_largest_units() {
        let spans = [-1.0, 3.9, 725.0, 8_040.0, 180_000.0].map(span);
        assert_eq!(spans, ["0 s", "3 s", "12 min 5 s", "2 h 14 min", "2 d 2 h"]);
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(utc(1_795_466_688_999), "2026-11-23T20:44:48Z");
    }
}
