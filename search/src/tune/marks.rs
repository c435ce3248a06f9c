//! Marks in the source: where they are, which literal they mean, and how to put other numbers in their place.

use std::ops::Range;

use super::{Knob, MOST};
use crate::code_hash::token_hash;
use crate::program::Language;

/// A marked literal. Ranges are bytes of the source.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    pub(super) knob: Knob,
    /// The number itself, without a suffix such as `u32`.
    literal: Range<usize>,
    /// The number in the mark, which is kept the same.
    echo: Range<usize>,
}

const WORD: &str = "@tune";
/// How far a number that search marks may go from its value, as a factor.
const RANGE: f64 = 8.0;
const START: &str = "EVOLVE-BLOCK-START";
const END: &str = "EVOLVE-BLOCK-END";

/// The program with other values in place of its marked numbers, in the marks too; none if it doesn't have as many.
pub fn substitute(source: &str, values: &[f64]) -> Option<String> {
    let marks = find(source);
    if marks.is_empty() || marks.len() != values.len() {
        return None;
    }
    let text = |(mark, value): (&Mark, &f64)| {
        if mark.knob.integer { format!("{value:.0}") } else { format!("{value:?}") }
    };
    let texts: Vec<String> = marks.iter().zip(values).map(text).collect();
    Some(replace(source, &marks, |index| texts[index].clone()))
}

/// The values of a program's marked numbers, in the order of the source.
pub fn values(source: &str) -> Vec<f64> {
    find(source).iter().map(|mark| mark.knob.value).collect()
}

/// The program with a mark for a number that has none: a comment at the end of its line, within a factor of eight of its value. With
/// the mark's place among all marks and the knob; none if the number can't be marked.
pub fn mark(source: &str, literal: &Range<usize>, language: Language) -> Option<(String, usize, Knob)> {
    let opener = match language {
        Language::Rust => "//",
        Language::Python => "#",
        Language::Other => return None,
    };
    let text = source.get(literal.clone())?.replace('_', "");
    let value: f64 = text.parse().ok()?;
    let range = if text.contains(['.', 'e', 'E']) {
        format!("{:?}..{:?}", value / RANGE, value * RANGE)
    } else {
        format!("{:.0}..{:.0}", (value / RANGE).ceil(), value * RANGE)
    };
    let end = source[literal.end..].find(['\n', '\r']).map_or(source.len(), |at| literal.end + at);
    let (before, after) = source.split_at(end);
    let marked = format!("{before} {opener} {WORD} {text} [{range}] log{after}");
    let marks = find(&marked);
    let position = marks.iter().position(|mark| mark.literal == *literal)?;
    // Within a text of several lines it would be no comment, and beside another mark it isn't read.
    let sound = marks.len() == find(source).len() + 1
        && token_hash(&marked, language) == token_hash(source, language);
    sound.then(|| (marked, position, marks[position].knob))
}

/// Puts a text in the place of each marked number.
pub(super) fn replace(source: &str, marks: &[Mark], text: impl Fn(usize) -> String) -> String {
    let mut edits: Vec<(Range<usize>, usize)> = marks
        .iter()
        .enumerate()
        .flat_map(|(index, mark)| [(mark.literal.clone(), index), (mark.echo.clone(), index)])
        .collect();
    edits.sort_by_key(|(range, _)| range.start);
    let mut replaced = String::with_capacity(source.len());
    let mut at = 0;
    for (range, index) in edits {
        replaced.push_str(&source[at..range.start]);
        replaced.push_str(&text(index));
        at = range.end;
    }
    replaced.push_str(&source[at..]);
    replaced
}

/// The marks of a source text in order: those within EVOLVE-BLOCKs if there are any, for nothing else may change. A mark
/// that can't be read, or whose number isn't there, is a comment like any other.
pub(super) fn find(source: &str) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    if !source.contains(WORD) {
        return marks;
    }
    let has_blocks = source.contains(START);
    let mut inside = !has_blocks;
    let mut waiting: Option<Note> = None;
    let mut start = 0;
    for line in source.split_inclusive('\n') {
        let end = start + line.trim_end().len();
        if has_blocks && line.contains(START) {
            inside = true;
        } else if has_blocks && line.contains(END) {
            inside = false;
            waiting = None;
        }
        let note = if inside { Note::read(source, start..end) } else { None };
        let code = start..note.as_ref().map_or(end, |note| note.comment);
        let is_blank = source[code.clone()].trim().is_empty();
        // A mark on a line of its own means the next line.
        let meant = if is_blank { None } else { note.clone().or_else(|| waiting.take()) };
        if let Some(note) = meant
            && let Some(mark) = note.find_literal(source, code)
            && marks.iter().all(|known| known.literal != mark.literal)
            && marks.len() < MOST
        {
            marks.push(mark);
        }
        waiting = if is_blank { note } else { None };
        start += line.len();
    }
    marks
}

/// Whether a knob can be turned.
pub(super) fn is_sound(knob: &Knob) -> bool {
    let Knob { value, low, high, log, integer } = *knob;
    let whole = |number: f64| !integer || (number.fract() == 0.0 && number.abs() < 9e15);
    low.is_finite()
        && high.is_finite()
        && low < high
        && (low..=high).contains(&value)
        && (!log || low > 0.0)
        && [value, low, high].into_iter().all(whole)
        // A literal has no sign.
        && low >= 0.0
}

/// A mark's text, before its literal is found.
#[derive(Debug, Clone)]
struct Note {
    knob: Knob,
    echo: Range<usize>,
    /// Where its comment begins.
    comment: usize,
}

impl Note {
    /// Reads `// @tune VALUE [LOW..HIGH] log`; `#` and `--` begin a comment, too.
    fn read(source: &str, line: Range<usize>) -> Option<Self> {
        let text = &source[line.clone()];
        let at = text.find(WORD)?;
        let before = text[..at].trim_end();
        let opener = ["//", "#", "--"].into_iter().find(|opener| before.ends_with(opener))?;
        let comment = line.start + before.len() - opener.len();
        let rest = &text[at + WORD.len()..];
        let value_text = rest.split('[').next()?.trim();
        let value_start = line.start + at + WORD.len() + rest.find(value_text)?;
        let (range, scale) = rest.split_once('[')?.1.split_once(']')?;
        let (low, high) = range.split_once("..")?;
        let log = match scale.split_whitespace().next() {
            Some("log") => true,
            None | Some("linear") => false,
            Some(_) => return None,
        };
        let number = |text: &str| text.trim().replace('_', "").parse::<f64>().ok();
        let knob =
            Knob { value: number(value_text)?, low: number(low)?, high: number(high)?, log, integer: false };
        Some(Self { knob, echo: value_start..value_start + value_text.len(), comment })
    }

    /// The first literal in the code that has the mark's value.
    fn find_literal(self, source: &str, code: Range<usize>) -> Option<Mark> {
        let bytes = source.as_bytes();
        let in_word =
            |at: usize| bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_' || !bytes[at].is_ascii();
        let mut at = code.start;
        while at < code.end {
            let follows = at > code.start && (in_word(at - 1) || bytes[at - 1] == b'.');
            if !bytes[at].is_ascii_digit() || follows {
                at += 1;
                continue;
            }
            let end = literal_end(&source[..code.end], at);
            let text = source[at..end].replace('_', "");
            if text.parse() == Ok(self.knob.value) {
                let suffix = source[end..code.end].trim_start_matches('_');
                let integer = !text.contains(['.', 'e', 'E']) && !suffix.starts_with('f');
                let knob = Knob { integer, ..self.knob };
                return is_sound(&knob).then_some(Mark { knob, literal: at..end, echo: self.echo });
            }
            at = end.max(at + 1);
        }
        None
    }
}

/// Where a decimal literal ends that begins at `start`: digits, underscores between them, a fraction and an exponent.
fn literal_end(source: &str, start: usize) -> usize {
    let bytes = source.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let digits = |mut at: usize| {
        while digit(at) || (bytes.get(at) == Some(&b'_') && digit(at + 1)) {
            at += 1;
        }
        at
    };
    let mut end = digits(start);
    if bytes.get(end) == Some(&b'.') && digit(end + 1) {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if digit(end + 1 + sign) {
            end = digits(end + 1 + sign);
        }
    }
    end
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;

    fn only(source: &str) -> (Knob, &str) {
        let marks = find(source);
        assert_eq!(marks.len(), 1, "{source}");
        (marks[0].knob, &source[marks[0].literal.clone()])
    }

    #[test]
    fn a_mark_means_the_literal_of_its_value_on_its_line_or_the_next() {
        let (knob, literal) = only("let t2 = f(1, 32u64); // @tune 32 [8..256] log\n");
        assert_eq!(literal, "32");
        assert_eq!(knob, Knob { value: 32.0, low: 8.0, high: 256.0, log: true, integer: true });
        let (knob, literal) = only("    # @tune 0.5 [0..1]\n    rate = 0.5\n");
        assert_eq!((literal, knob.integer, knob.log), ("0.5", false, false));
        assert_eq!(only("x = 1_000 // @tune 1000 [1..5_000] linear").1, "1_000");
        assert_eq!(only("x = 1e-3_f32; // @tune 0.001 [1e-5..1] log").1, "1e-3");
        assert!(!only("x = 3f32; // @tune 3 [1..9]").0.integer);
    }

    #[test]
    fn what_can_not_be_tuned_is_a_comment() {
        for source in [
            "let x = 32; // @tune",
            "let x = 32; // @tune 31 [8..256]",
            "let x = 32; // @tune 32 [64..256]",
            "let x = 32; // @tune 32 [256..8]",
            "let x = 32; // @tune 32 [0..256] log",
            "let x = 32; // @tune 32 [-8..256]",
            "let x = 32; // @tune 32 [8..256] cubic",
            "let x = 32; // @tune 32 [0.5..256]",
            "let x = 32; @tune 32 [8..256]",
            "// @tune 32 [8..256]\n\n\n",
            "let x32 = a.32; // @tune 32 [8..256]",
            "// @tune 32 [8..256]\n// EVOLVE-BLOCK-START\nlet x = 32;\n// EVOLVE-BLOCK-END\n",
            "// EVOLVE-BLOCK-START\n// EVOLVE-BLOCK-END\nlet x = 32; // @tune 32 [8..256]\n",
        ] {
            assert_eq!(find(source), [], "{source}");
        }
    }

    #[test]
    fn a_number_is_marked_at_the_end_of_its_line_if_that_is_a_comment() {
        let at = |source: &str, text: &str| {
            let start = source.find(text).unwrap();
            mark(source, &(start..start + text.len()), Language::Rust)
        };
        let (marked, position, knob) = at("let a = f(12u8, 3);\nlet b = 5;\n", "12").unwrap();
        assert_eq!(marked, "let a = f(12u8, 3); // @tune 12 [2..96] log\nlet b = 5;\n");
        assert_eq!(knob, Knob { value: 12.0, low: 2.0, high: 96.0, log: true, integer: true });
        assert_eq!(position, 0);
        let (marked, position, knob) =
            at("let a = 9; // @tune 9 [1..99]\nlet b = 0.5; // half", "0.5").unwrap();
        assert!(marked.ends_with("let b = 0.5; // half // @tune 0.5 [0.0625..4.0] log"), "{marked}");
        assert!(position == 1 && !knob.integer);
        for (source, text) in [
            ("let a = 9; // @tune 9 [1..99]", "9"),
            ("f(9, 7); // @tune 9 [1..99]", "7"),
            ("f(7, \"one\n two\")", "7"),
            ("f(7, 70, 7.0, 07 + 7)", "07"),
            ("let a = 0;", "0"),
        ] {
            assert_eq!(at(source, text), None, "{source}");
        }
        assert_eq!(mark("a = 7", &(4..5), Language::Other), None);
        assert_eq!(mark("a = 7", &(4..5), Language::Python).unwrap().0, "a = 7 # @tune 7 [1..56] log");
    }

    #[test]
    fn values_take_the_place_of_literals_and_in_the_marks() {
        let source = "# EVOLVE-BLOCK-START\na = g(32)  # @tune 32 [8..256] log\n# @tune 0.5 [0..1]\nb = 0.5\n# EVOLVE-BLOCK-END\n";
        let changed = substitute(source, &[64.0, 1.0]).unwrap();
        assert_eq!(
            changed,
            "# EVOLVE-BLOCK-START\na = g(64)  # @tune 64 [8..256] log\n# @tune 1.0 [0..1]\nb = 1.0\n# EVOLVE-BLOCK-END\n"
        );
        let again: Vec<f64> = find(&changed).iter().map(|mark| mark.knob.value).collect();
        assert_eq!(again, [64.0, 1.0]);
        assert_eq!(substitute(source, &[1.0]), None);
        assert_eq!(substitute("a = 1", &[]), None);
    }
}
