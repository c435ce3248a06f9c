//! Rust as a flat list of tokens, by rustc's own lexer: comments and strings can't hide or feign anything, and no nesting can
//! overflow a stack.

use rustc_lexer::{FrontmatterAllowed, LiteralKind, TokenKind, tokenize};

use super::Refusal;

/// rustc itself dies of stack overflow somewhere beyond ten thousand.
const DEEPEST: usize = 200;

/// What the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An identifier or keyword.
    Word,
    /// A lifetime or label.
    Lifetime,
    /// A number, string or character.
    Literal,
    /// `(`, `[` or `{`.
    Open,
    /// `)`, `]` or `}`.
    Close,
    /// Any other single character.
    Punct,
}

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Its line, from 1.
    pub(super) line: u32,
    /// How many brackets it stands in; a bracket itself stands outside.
    pub(super) depth: usize,
}

/// Why there are no tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A bracket, quote or comment isn't closed, or was never opened.
    Open {
        /// Where, from 1.
        line: u32,
    },
    /// Something that a program must not have.
    Refused(Refusal),
}

/// All tokens but comments and spaces, with every bracket closed by its like.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Unreadable> {
    let mut found = Vec::new();
    let mut open: Vec<(char, u32)> = Vec::new();
    let (mut start, mut line) = (0, 1_u32);
    for token in tokenize(text, FrontmatterAllowed::No) {
        let Some(piece) = text.get(start..start + token.len as usize) else { break };
        start += piece.len();
        let refused = |reason: String| Err(Unreadable::Refused(Refusal::at(line, reason)));
        let mut depth = open.len();
        let kind = match token.kind {
            TokenKind::LineComment { .. } | TokenKind::BlockComment { terminated: true, .. } => None,
            TokenKind::Whitespace if piece.is_ascii() => None,
            TokenKind::Whitespace => {
                let before = piece.split(|c: char| !c.is_ascii()).next().unwrap_or_default();
                let reason = "an invisible character: use spaces";
                return Err(Unreadable::Refused(Refusal::at(line + line_feeds(before), reason)));
            }
            TokenKind::Ident if piece.is_ascii() => Some(Kind::Word),
            TokenKind::Lifetime { .. } if piece.is_ascii() => Some(Kind::Lifetime),
            TokenKind::Ident | TokenKind::InvalidIdent | TokenKind::Lifetime { .. } => {
                return refused(format!("`{}`: write names in ASCII letters", shown(piece)));
            }
            TokenKind::RawIdent | TokenKind::ForcedKeywordIdent | TokenKind::RawLifetime => {
                return refused(format!("raw identifier `{}`: choose another name", shown(piece)));
            }
            TokenKind::UnknownPrefix | TokenKind::UnknownPrefixLifetime | TokenKind::GuardedStrPrefix => {
                return refused(format!(
                    "`{}` before a quote or `#` isn't Rust: put a space there",
                    shown(piece)
                ));
            }
            TokenKind::Unknown | TokenKind::Frontmatter { .. } => {
                return refused(format!(
                    "`{}` isn't Rust outside strings and comments: leave it out",
                    shown(piece)
                ));
            }
            TokenKind::Literal { kind, .. } if is_closed(kind) => Some(Kind::Literal),
            TokenKind::BlockComment { terminated: false, .. } | TokenKind::Literal { .. } => {
                return Err(Unreadable::Open { line });
            }
            TokenKind::OpenParen | TokenKind::OpenBrace | TokenKind::OpenBracket => {
                if depth == DEEPEST {
                    let advice = "give the inner parts names of their own";
                    return refused(format!("brackets more than {DEEPEST} deep: {advice}"));
                }
                open.push((closing(piece), line));
                Some(Kind::Open)
            }
            TokenKind::CloseParen | TokenKind::CloseBrace | TokenKind::CloseBracket => {
                if open.pop().is_none_or(|(wanted, _)| !piece.starts_with(wanted)) {
                    return Err(Unreadable::Open { line });
                }
                depth -= 1;
                Some(Kind::Close)
            }
            _ => Some(Kind::Punct),
        };
        found.extend(kind.map(|kind| Token { kind, text: piece, line, depth }));
        line += line_feeds(piece);
    }
    match open.last() {
        Some((_, line)) => Err(Unreadable::Open { line: *line }),
        None => Ok(found),
    }
}

fn line_feeds(text: &str) -> u32 {
    text.matches('\n').count() as u32
}

fn closing(open: &str) -> char {
    match open {
        "(" => ')',
        "[" => ']',
        _ => '}',
    }
}

fn is_closed(kind: LiteralKind) -> bool {
    match kind {
        LiteralKind::Int { .. } | LiteralKind::Float { .. } => true,
        LiteralKind::Char { terminated }
        | LiteralKind::Byte { terminated }
        | LiteralKind::Str { terminated }
        | LiteralKind::ByteStr { terminated }
        | LiteralKind::CStr { terminated } => terminated,
        LiteralKind::RawStr { n_hashes }
        | LiteralKind::RawByteStr { n_hashes }
        | LiteralKind::RawCStr { n_hashes } => n_hashes.is_some(),
    }
}

/// The start of a token, for messages.
fn shown(piece: &str) -> String {
    piece.chars().take(40).flat_map(char::escape_debug).collect()
}

/// The first line with a character that makes text read differently from what it is.
pub(super) fn first_direction_control(text: &str) -> Option<u32> {
    let controls = ['\u{61c}', '\u{200e}', '\u{200f}'];
    let is_control = |c: char| {
        controls.contains(&c)
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    (1_u32..).zip(text.split('\n')).find(|(_, line)| line.contains(is_control)).map(|(number, _)| number)
}
