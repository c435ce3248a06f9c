//! From text to tokens.

use std::ops::Range;

use super::FilterError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Letters, digits, `_`, `.` and (after the first character) `-`; keywords too.
    Word(String),
    /// What stood in quotes.
    Text(String),
    /// A number, with its spelling.
    Number(f64, String),
    /// An operator, parenthesis, comma or `%`.
    Symbol(&'static str),
    /// After the last token.
    End,
}

/// A token and the bytes that it spans.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) at: Range<usize>,
}

/// Longer ones first.
const SYMBOLS: &[&str] = &["!=", "<>", "<=", ">=", "==", "!~", "=", "<", ">", "~", "(", ")", ",", "%"];

/// All tokens, an [`Token::End`] last.
pub(super) fn tokens(text: &str) -> Result<Vec<Spanned>, FilterError> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(first) = text[start..].chars().next() {
        let rest = &text[start..];
        let (token, length) = if first.is_whitespace() {
            start += first.len_utf8();
            continue;
        } else if first == '\'' || first == '"' {
            quoted(text, start, first)?
        } else if let Some(length) = number_length(rest) {
            let spelling = &rest[..length];
            let number: f64 = spelling.parse().map_err(|_| {
                FilterError::new(text, start..start + length, format!("`{spelling}` is not a number"))
            })?;
            (Token::Number(number, spelling.to_owned()), length)
        } else if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            (Token::Word(rest[..length].to_owned()), length)
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            (Token::Symbol(symbol), symbol.len())
        } else {
            let end = start + first.len_utf8();
            let instead = match first {
                '&' => "write `and`",
                '|' => "write `or`",
                '!' => "write `not`",
                _ => "text stands in quotes",
            };
            return Err(FilterError::new(
                text,
                start..end,
                format!("`{first}` has no meaning here; {instead}"),
            ));
        };
        tokens.push(Spanned { token, at: start..start + length });
        start += length;
    }
    tokens.push(Spanned { token: Token::End, at: text.len()..text.len() });
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// A quote inside is written twice.
fn quoted(text: &str, start: usize, quote: char) -> Result<(Token, usize), FilterError> {
    let mut content = String::new();
    let mut characters = text[start + 1..].char_indices().peekable();
    while let Some((offset, c)) = characters.next() {
        if c != quote {
            content.push(c);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            content.push(quote);
        } else {
            return Ok((Token::Text(content), offset + 2));
        }
    }
    Err(FilterError::new(text, start..text.len(), format!("there is no closing {quote}")))
}

/// The length of the number that `rest` begins with: sign, digits, fraction, exponent.
fn number_length(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let sign = usize::from(bytes.first().is_some_and(|byte| matches!(byte, b'-' | b'+')));
    let whole = digits(sign);
    let mut length = sign + whole;
    let mut fraction = 0;
    if bytes.get(length) == Some(&b'.') {
        fraction = digits(length + 1);
        length += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if bytes.get(length).is_some_and(|byte| matches!(byte, b'e' | b'E')) {
        let sign = usize::from(bytes.get(length + 1).is_some_and(|byte| matches!(byte, b'-' | b'+')));
        let exponent = digits((length + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    Some(length)
}
