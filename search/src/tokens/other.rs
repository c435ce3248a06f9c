//! Any language of which nothing is known: spaces and line breaks may mean something, so they are kept, each with the
//! token after it. Only spaces that nothing follows on their line are dropped.

use super::Tokens;

pub(super) fn split(source: &str, tokens: &mut Tokens) {
    let mut token = Vec::new();
    for (number, line) in source.lines().enumerate() {
        if number > 0 {
            token.push(b'\n');
        }
        let line = line.trim_end();
        let mut rest = line;
        while !rest.is_empty() {
            let space = rest.len() - rest.trim_start().len();
            let after = &rest[space..];
            let word = after.find(|c: char| !is_word(c)).unwrap_or(after.len());
            // A character that is no part of a word stands alone.
            let length = if word > 0 { word } else { after.chars().next().map_or(0, char::len_utf8) };
            token.extend_from_slice(&rest.as_bytes()[..space + length]);
            tokens.push(&token);
            token.clear();
            rest = &after[length..];
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
