//! A program as its language's compiler sees it: tokens, without spaces and comments.

mod other;
mod python;
mod rust;
#[cfg(test)]
mod tests;

use crate::program::Language;

/// Ends a token. Bytes above `0xF7` never occur in UTF-8, so no source text can fake one.
pub(crate) const END: u8 = 0xFF;

/// A program's tokens, one after the other, each with an end mark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tokens {
    bytes: Vec<u8>,
    count: usize,
}

impl Tokens {
    /// Splits a source text. Never fails: text that its language's compiler would refuse has tokens too.
    pub(crate) fn of(source: &str, language: Language) -> Self {
        let mut tokens = Self { bytes: Vec::with_capacity(source.len() + source.len() / 4), count: 0 };
        match language {
            Language::Rust => rust::split(source, &mut tokens),
            Language::Python => python::split(source, &mut tokens),
            Language::Other => other::split(source, &mut tokens),
        }
        tokens
    }

    fn push(&mut self, token: &[u8]) {
        self.bytes.extend_from_slice(token);
        self.bytes.push(END);
        self.count += 1;
    }

    /// All tokens with their end marks: equal if and only if the tokens are.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// One after the other, each with its end mark.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split_inclusive(|byte| *byte == END)
    }
}

/// The length of the longest operator that `text` begins with, at least 1. `operators` must be longest first.
fn operator_length(text: &[u8], operators: &[&str]) -> usize {
    // No operator of either language has another second byte. Most punctuation needs no look at the table by this.
    if !matches!(text.get(1), Some(b'=' | b'>' | b'<' | b'.' | b':' | b'&' | b'|' | b'*' | b'/')) {
        return 1;
    }
    operators
        .iter()
        .find(|operator| text.starts_with(operator.as_bytes()))
        .map_or(1, |operator| operator.len())
}
