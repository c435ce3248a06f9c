//! Rust, by rustc's own lexer.

use rustc_lexer::{FrontmatterAllowed, TokenKind, tokenize};

use super::{Tokens, operator_length};

/// rustc's lexer gives punctuation byte by byte; its parser glues these where nothing stands between.
/// It matters: `a && b` and `a & &b` are different programs. (`<-` is left out: to the parser it is `< -`.)
const OPERATORS: [&str; 24] = [
    "<<=", ">>=", "...", "..=", "::", "->", "=>", "==", "!=", "<=", ">=", "&&", "||", "+=", "-=", "*=", "/=",
    "%=", "^=", "&=", "|=", "<<", ">>", "..",
];

pub(super) fn split(source: &str, tokens: &mut Tokens) {
    let bytes = source.as_bytes();
    let mut start = 0;
    // Bytes at the start of the next token that belong to an operator pushed already.
    let mut glued_to = 0;
    for token in tokenize(source, FrontmatterAllowed::No) {
        let end = start + token.len as usize;
        match token.kind {
            TokenKind::Whitespace | TokenKind::LineComment { .. } | TokenKind::BlockComment { .. } => {}
            _ if start < glued_to => {}
            _ if end - start == 1 && bytes[start].is_ascii_punctuation() && bytes[start] != b'_' => {
                glued_to = start + operator_length(&bytes[start..], &OPERATORS);
                tokens.push(&bytes[start..glued_to]);
            }
            _ => tokens.push(&bytes[start..end]),
        }
        start = end;
    }
}
