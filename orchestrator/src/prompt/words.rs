//! Outcomes in plain words, and text made fit for a prompt.

use search::{Effect, Measured, Outcome, Verdict};
use similar::TextDiff;

mod compiler;
mod traceback;

/// One sentence on how a program did.
pub(super) fn summary(outcome: Option<&Outcome>) -> String {
    let Some(outcome) = outcome else {
        return "It has not been measured yet.".to_owned();
    };
    let Outcome::Measured(measured) = outcome else {
        return format!("It failed: {}.", first_line(&outcome.to_string()));
    };
    let score = number(measured.score.get());
    if measured.effects.is_empty() {
        return format!("Its score is {score}; higher is better.");
    }
    let verdict = match measured.verdict {
        Verdict::Improved => "better than the baseline beyond chance",
        Verdict::Regressed => "worse than the baseline beyond chance",
        Verdict::Inconclusive => "not told apart from the baseline",
    };
    format!("Its score is {score} (the baseline's is 1, higher is better): {verdict}.")
}

/// How a proposal failed, in one line.
pub(super) fn failure(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Compile { message } => {
            format!("it doesn't compile: {}", first_line(&compiler::essence(&safe(message))))
        }
        Outcome::Patch { reason } => {
            format!("the answer doesn't fit the program: {}", first_line(&safe(reason)))
        }
        other => first_line(&safe(&other.to_string())),
    }
}

/// One sentence on how a child did beside its parent.
pub(super) fn compared(child: Option<&Outcome>, parent: Option<&Outcome>) -> String {
    let score = |outcome: Option<&Outcome>| outcome.and_then(Outcome::score).map(search::Score::get);
    let Some(child) = score(child) else { return summary(child) };
    let Some(parent) = score(parent) else { return format!("score {}", number(child)) };
    let word = match child.total_cmp(&parent) {
        std::cmp::Ordering::Greater => "better",
        std::cmp::Ordering::Less => "worse",
        std::cmp::Ordering::Equal => "the same",
    };
    format!("score {} where the program it was made from has {}: {word}", number(child), number(parent))
}

/// What was measured, a line each: first what is compared with the baseline, then the other numbers.
pub(super) fn measurements(outcome: &Outcome) -> Vec<String> {
    let Outcome::Measured(Measured { effects, metrics, reason, .. }) = outcome else {
        return Vec::new();
    };
    let mut lines: Vec<String> = effects.iter().map(effect).collect();
    let compared = |name: &str| effects.iter().any(|effect| effect.metric == name);
    lines.extend(
        metrics
            .iter()
            .filter(|(name, _)| !compared(name))
            .map(|(name, value)| format!("`{name}`: {}", quantity(name, *value))),
    );
    if !effects.is_empty() && !reason.trim().is_empty() {
        lines.push(first_line(reason));
    }
    lines
}

fn effect(effect: &Effect) -> String {
    let Effect { metric, baseline, candidate, change, interval, significant, .. } = effect;
    let direction = if *change >= 0.0 { "better" } else { "worse" };
    let percent = |change: f64| format!("{:+.1} %", change * 100.0);
    let interval = interval.map_or(String::new(), |(low, high)| {
        format!(", 95 % interval {} to {}", percent(low), percent(high))
    });
    let chance = if *significant { "beyond chance" } else { "could be chance" };
    format!(
        "`{metric}`: {} where the baseline has {}: {:.1} % {direction}{interval}; {chance}",
        quantity(metric, *candidate),
        quantity(metric, *baseline),
        change.abs() * 100.0,
    )
}

fn quantity(name: &str, value: f64) -> String {
    match name {
        _ if name.ends_with("_bytes") => format!("{} MB", number(value / 1e6)),
        _ if name.ends_with("_seconds") => format!("{} s", number(value)),
        _ => number(value),
    }
}

/// Four significant digits, without needless zeros.
fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    if !(1e-4..1e9).contains(&size) {
        return format!("{value:.3e}");
    }
    let decimals = (3 - size.log10().floor() as i32).clamp(0, 8) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A failure's own words beyond its summary, if it has any.
pub(super) fn details(outcome: &Outcome) -> Option<String> {
    let words = match outcome {
        Outcome::Compile { message } | Outcome::Crash { message, .. } | Outcome::WrongResult { message } => {
            message
        }
        Outcome::Patch { reason } | Outcome::Gate { reason, .. } | Outcome::Rejected { reason } => reason,
        _ => return None,
    };
    let several = words.trim().lines().nth(1).is_some() || words.chars().count() > FIRST_LINE;
    several.then(|| match outcome {
        Outcome::Compile { .. } => compiler::essence(&safe(words)),
        _ => traceback::essence(&safe(words)),
    })
}

const FIRST_LINE: usize = 200;

/// The first line, clipped.
pub(super) fn first_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default().trim();
    match line.char_indices().nth(FIRST_LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.trim_end_matches('.').to_owned(),
    }
}

/// What a child changed, as a diff without file names.
pub(super) fn change(parent: &str, child: &str) -> String {
    TextDiff::from_lines(parent, child).unified_diff().context_radius(1).to_string()
}

/// Text of a stranger's without what could make it look like something else: colours and other terminal sequences, control
/// characters, characters without width and those that change the direction of writing.
pub(crate) fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\u{1b}' if characters.peek() == Some(&'[') => {
                // A sequence ends with a letter.
                while characters.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
            }
            '\n' | '\t' => safe.push(c),
            _ if c.is_control() || is_invisible(c) => {}
            _ => safe.push(c),
        }
    }
    safe
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// At most so many lines and characters; says how much is left out. The start is worth most: compilers put
/// their first error there.
pub(super) fn trim(text: &str, lines: usize, chars: usize) -> String {
    const LINE: usize = 300;
    let all: Vec<&str> = text.trim_end().lines().collect();
    let mut kept = Vec::new();
    let mut room = chars;
    for line in all.iter().take(lines) {
        let line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').take(LINE).collect();
        let length = line.chars().count() + 1;
        if length > room {
            break;
        }
        room -= length;
        kept.push(line);
    }
    let left_out = all.len() - kept.len();
    if left_out > 0 {
        kept.push(format!("... ({left_out} more lines)"));
    }
    kept.join("\n")
}

/// A fenced block that nothing in `text` can end.
pub(super) fn fence(text: &str, label: &str) -> String {
    let (longest, _) = text.chars().fold((0, 0), |(longest, run), c| {
        let run = if c == '`' { run + 1 } else { 0 };
        (usize::max(longest, run), run)
    });
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{}\n{}\n{fence}", label.to_lowercase(), text.trim_end_matches('\n'))
}

/// At most one blank line in a row outside of fenced blocks, none at the end.
pub(super) fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let mut fence: Option<&str> = None;
    let mut blank = true;
    for line in text.lines() {
        let inside = fence.is_some();
        let signs = &line[..line.len() - line.trim_start_matches('`').len()];
        match fence {
            None if signs.len() >= 3 => fence = Some(signs),
            Some(open) if line == open => fence = None,
            None if line.trim().is_empty() => {
                if !blank {
                    tidy.push('\n');
                }
                blank = true;
                continue;
            }
            _ => {}
        }
        blank = false;
        tidy.push_str(if inside { line } else { line.trim_end() });
        tidy.push('\n');
    }
    tidy.truncate(tidy.trim_end().len());
    tidy.push('\n');
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits_that_count() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (1.083_41, "1.083"),
            (12_345.6, "12346"),
            (0.001_234_56, "0.001235"),
            (1e-9, "1.000e-9"),
            (-2.5, "-2.5"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_fence_outlasts_what_is_in_it() {
        assert_eq!(fence("a\n````\nb\n", "Rust"), "`````rust\na\n````\nb\n`````");
        assert_eq!(fence("x ```` y", ""), "`````\nx ```` y\n`````");
    }

    #[test]
    fn text_of_strangers_loses_colours_and_what_cannot_be_seen() {
        assert_eq!(safe("\u{1b}[31mred\u{1b}[0m\u{202e}evil\u{200b}\r\n\tok\u{7}"), "redevil\n\tok");
        assert_eq!(safe("\u{1b}["), "");
    }

    #[test]
    fn a_child_is_compared_with_the_program_it_was_made_from() {
        let measured = |score| {
            Some(Outcome::Measured(Measured {
                score: search::Score::new(score).unwrap(),
                verdict: Verdict::Inconclusive,
                metrics: std::collections::BTreeMap::new(),
                effects: vec![],
                reason: String::new(),
                score_error: None,
            }))
        };
        let words = compared(measured(1.5).as_ref(), measured(1.25).as_ref());
        assert_eq!(words, "score 1.5 where the program it was made from has 1.25: better");
        assert_eq!(compared(measured(1.5).as_ref(), None), "score 1.5");
    }

    #[test]
    fn trimming_says_how_much_is_left_out() {
        assert_eq!(trim("a\nb\nc\n", 2, 100), "a\nb\n... (1 more lines)");
        assert_eq!(trim("a\nb\n", 5, 100), "a\nb");
        assert_eq!(trim("aaaa\nbbbb\n", 5, 6), "aaaa\n... (1 more lines)");
    }
}
