//! Python: the tokens of each logical line, and where blocks begin and end.

use super::{Tokens, operator_length};

/// Marks for structure. None of these bytes occurs in UTF-8.
const NEWLINE: &[u8] = &[0xFE];
const INDENT: &[u8] = &[0xFD];
const DEDENT: &[u8] = &[0xFC];

const OPERATORS: [&str; 25] = [
    "**=", "//=", ">>=", "<<=", "...", "**", "//", ">>", "<<", "<=", ">=", "==", "!=", "->", "+=", "-=",
    "*=", "/=", "%=", "&=", "|=", "^=", "@=", ":=", "<>",
];

/// How deep f-strings within f-strings are followed; Python's own limit is far below.
const MAX_NESTING: usize = 32;

/// How long an expression in an f-string may be; keeps text full of open ones from taking quadratic time.
const MAX_EXPRESSION: usize = 4096;

pub(super) fn split(source: &str, tokens: &mut Tokens) {
    let text = source.strip_prefix('\u{FEFF}').unwrap_or(source).as_bytes();
    let mut indents = vec![0];
    let mut at = 0;
    while at < text.len() {
        let (column, first) = indentation(text, at);
        at = first;
        match text.get(at) {
            None => break,
            Some(b'\n' | b'\r') => at += 1,
            Some(b'#') => at = end_of_line(text, at),
            Some(_) => {
                indent(column, &mut indents, tokens);
                at = logical_line(text, at, tokens);
                tokens.push(NEWLINE);
            }
        }
    }
}

/// The column of the first byte that is no space, and its place. A tab reaches to the next multiple of 8.
fn indentation(text: &[u8], mut at: usize) -> (usize, usize) {
    let mut column = 0;
    loop {
        match text.get(at) {
            Some(b' ') => column += 1,
            Some(b'\t') => column = (column / 8 + 1) * 8,
            Some(b'\x0C') => column = 0,
            _ => return (column, at),
        }
        at += 1;
    }
}

fn indent(column: usize, indents: &mut Vec<usize>, tokens: &mut Tokens) {
    while indents.last().is_some_and(|last| *last > column) {
        indents.pop();
        tokens.push(DEDENT);
    }
    if indents.last().is_none_or(|last| *last < column) {
        indents.push(column);
        tokens.push(INDENT);
    }
}

fn end_of_line(text: &[u8], at: usize) -> usize {
    text[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r')).map_or(text.len(), |length| at + length)
}

/// Pushes the tokens of one logical line, which brackets and backslashes may stretch over several.
/// Returns the place after its line break.
fn logical_line(text: &[u8], mut at: usize, tokens: &mut Tokens) -> usize {
    let mut open = 0_usize;
    while let Some(&byte) = text.get(at) {
        let start = at;
        match byte {
            b'\n' | b'\r' if open == 0 => return at + 1,
            b' ' | b'\t' | b'\x0C' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            b'\\' if matches!(text.get(at + 1), Some(b'\n' | b'\r')) => {
                at += if text[at + 1..].starts_with(b"\r\n") { 3 } else { 2 };
                continue;
            }
            b'#' => {
                at = end_of_line(text, at);
                continue;
            }
            b'\'' | b'"' => at = string(text, at, false),
            b'0'..=b'9' => at = number(text, at),
            b'.' if text.get(at + 1).is_some_and(u8::is_ascii_digit) => at = number(text, at),
            _ if is_word(byte) => {
                at = end_of_word(text, at);
                if matches!(text.get(at), Some(b'\'' | b'"')) && is_string_prefix(&text[start..at]) {
                    at = string(text, at, is_formatted(&text[start..at]));
                }
            }
            _ => {
                match byte {
                    b'(' | b'[' | b'{' => open += 1,
                    b')' | b']' | b'}' => open = open.saturating_sub(1),
                    _ => {}
                }
                at += operator_length(&text[at..], &OPERATORS);
            }
        }
        tokens.push(&text[start..at]);
    }
    at
}

/// Letters, digits, `_`, and every byte of a character beyond ASCII.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn end_of_word(text: &[u8], at: usize) -> usize {
    text[at..].iter().position(|byte| !is_word(*byte)).map_or(text.len(), |length| at + length)
}

/// `12`, `0x_ff`, `1.5e-3j`.
fn number(text: &[u8], mut at: usize) -> usize {
    let hexadecimal = matches!(text.get(at + 1), Some(b'x' | b'X'));
    while let Some(&byte) = text.get(at) {
        let exponent_sign =
            matches!(byte, b'+' | b'-') && matches!(text[at - 1], b'e' | b'E') && !hexadecimal;
        if !(is_word(byte) || byte == b'.' || exponent_sign) {
            break;
        }
        at += 1;
    }
    at
}

fn is_string_prefix(word: &[u8]) -> bool {
    word.len() <= 2 && word.iter().all(|byte| b"rbuft".contains(&byte.to_ascii_lowercase()))
}

/// Whether a string with this prefix holds expressions in braces.
fn is_formatted(prefix: &[u8]) -> bool {
    prefix.iter().any(|byte| matches!(byte.to_ascii_lowercase(), b'f' | b't'))
}

/// The place after the string that begins with the quote at `at`.
fn string(text: &[u8], at: usize, formatted: bool) -> usize {
    // Text that only looks like an f-string's expression must not swallow what follows.
    formatted
        .then(|| string_at_depth(text, at, true, 0))
        .flatten()
        .unwrap_or_else(|| string_at_depth(text, at, false, 0).unwrap_or(text.len()))
}

/// None: the expressions in it don't end.
fn string_at_depth(text: &[u8], mut at: usize, formatted: bool, depth: usize) -> Option<usize> {
    let quote = text[at];
    let triple = text[at..].starts_with(&[quote; 3]);
    let length = if triple { 3 } else { 1 };
    at += length;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'\n' | b'\r' if !triple => return Some(at),
            b'{' if formatted && text.get(at + 1) == Some(&b'{') => at += 2,
            b'{' if formatted => at = expression(text, at + 1, depth + 1)?,
            _ if byte == quote && (!triple || text[at..].starts_with(&[quote; 3])) => {
                return Some(at + length);
            }
            _ => at += 1,
        }
    }
    // Unterminated: a token to the end of the text.
    (!formatted).then_some(text.len())
}

/// The place after the brace that ends an f-string's expression, which begins at `at`.
fn expression(text: &[u8], mut at: usize, depth: usize) -> Option<usize> {
    let start = at;
    let mut open = 0_usize;
    let mut in_format = false;
    while let Some(&byte) = text.get(at) {
        if depth > MAX_NESTING || at - start > MAX_EXPRESSION {
            return None;
        }
        match byte {
            b'}' if open == 0 => return Some(at + 1),
            b'{' if in_format => {
                at = expression(text, at + 1, depth + 1)?;
                continue;
            }
            _ if in_format => {}
            b'\'' | b'"' => {
                let prefix = text[..at].rsplit(|byte| !is_word(*byte)).next().unwrap_or_default();
                let formatted = is_string_prefix(prefix) && is_formatted(prefix);
                at = string_at_depth(text, at, formatted, depth + 1)?;
                continue;
            }
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.checked_sub(1)?,
            b':' if open == 0 => in_format = true,
            _ => {}
        }
        at += 1;
    }
    None
}
