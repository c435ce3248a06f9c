//! What a kernel may use of Rust, decided on tokens: comments and strings can't hide or feign anything.

use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::Refusal;
use crate::block::Block;

/// rustc itself dies of stack overflow somewhere beyond ten thousand.
const DEEPEST: u32 = 200;

/// Words that are refused wherever they stand, and what to do instead.
const WORDS: &[(&str, &str)] = &[
    ("unsafe", "kernels are safe Rust"),
    ("extern", "a kernel links nothing; use kernel_api"),
    ("asm", "kernels are safe Rust"),
    ("global_asm", "kernels are safe Rust"),
    ("naked_asm", "kernels are safe Rust"),
    ("include", "a kernel reads no files"),
    ("include_str", "a kernel reads no files"),
    ("include_bytes", "a kernel reads no files"),
    ("macro_rules", "write a function instead of a macro"),
    ("transmute", "kernels are safe Rust"),
    ("catch_unwind", "return an error instead of panicking"),
    ("no_mangle", "a kernel exports nothing itself"),
];

/// Macros that read the build's environment. As plain words they are fine.
const MACROS: &[&str] = &["env", "option_env"];

/// Attributes that only inform the compiler.
const ATTRIBUTES: &[&str] =
    &["allow", "cold", "default", "derive", "doc", "expect", "inline", "must_use", "warn"];

/// Modules of std that compute and touch nothing outside.
const MODULES: &[&str] = &[
    "any",
    "array",
    "borrow",
    "boxed",
    "cell",
    "clone",
    "cmp",
    "collections",
    "convert",
    "default",
    "error",
    "f32",
    "f64",
    "fmt",
    "hash",
    "hint",
    "i16",
    "i32",
    "i64",
    "i8",
    "iter",
    "marker",
    "mem",
    "num",
    "ops",
    "option",
    "primitive",
    "rc",
    "result",
    "slice",
    "str",
    "string",
    "sync",
    "u16",
    "u32",
    "u64",
    "u8",
    "usize",
    "vec",
    "prelude",
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "format",
    "matches",
    "panic",
    "unreachable",
];

/// Whether a block is code by itself: no bracket, quote or comment reaches into the frame.
pub(super) fn stands_alone(block: &Block) -> Result<(), Refusal> {
    lex(&block.content).map(drop).map_err(|line| {
        let reason = "the block's code doesn't stand on its own: a bracket, quote or comment is not closed";
        // An error at the end of the text is at its last line.
        let last = block.content.lines().count().max(1) as u32;
        Refusal::at(block.first_line + line.min(last) - 1, reason)
    })
}

/// Whether the whole program keeps to what is allowed.
pub(super) fn check(program: &str) -> Result<(), Refusal> {
    let reason = "this isn't Rust: a bracket, quote or comment is not closed";
    let tokens = lex(program).map_err(|line| Refusal::at(line, reason))?;
    walk(tokens, 0)
}

/// The tokens, or the line where they end to make sense.
fn lex(text: &str) -> Result<TokenStream, u32> {
    // The crate remembers all text it ever lexed in this thread, for spans; we are the only ones to use it.
    proc_macro2::extra::invalidate_current_thread_spans();
    TokenStream::from_str(text).map_err(|error| error.span().start().line as u32)
}

fn walk(tokens: TokenStream, depth: u32) -> Result<(), Refusal> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        let line = token.span().start().line as u32;
        let rest = &tokens[index + 1..];
        match token {
            TokenTree::Ident(_) => word(&token.to_string(), rest, line)?,
            TokenTree::Punct(punct) if punct.as_char() == '#' => attribute(rest, line)?,
            TokenTree::Group(_) if depth == DEEPEST => {
                return Err(Refusal::at(line, format!("brackets more than {DEEPEST} deep")));
            }
            TokenTree::Group(group) => walk(group.stream(), depth + 1)?,
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    Ok(())
}

fn word(word: &str, rest: &[TokenTree], line: u32) -> Result<(), Refusal> {
    if word.starts_with("r#") {
        return Err(Refusal::at(line, format!("raw identifier `{word}`: choose another name")));
    }
    if let Some((_, hint)) = WORDS.iter().find(|(forbidden, _)| *forbidden == word) {
        return Err(Refusal::at(line, format!("`{word}` is not allowed: {hint}")));
    }
    if MACROS.contains(&word) && is_punct(rest.first(), '!') {
        return Err(Refusal::at(line, format!("`{word}!` is not allowed: a kernel reads no environment")));
    }
    if word == "mod" && is_punct(rest.get(1), ';') {
        let name = rest[0].to_string();
        return Err(Refusal::at(line, format!("`mod {name};` is not allowed: a program is one file")));
    }
    let is_path = is_punct(rest.first(), ':') && is_punct(rest.get(1), ':');
    let is_renamed = matches!(rest.first(), Some(TokenTree::Ident(ident)) if ident == "as");
    if word == "std" || (["core", "alloc"].contains(&word) && (is_path || is_renamed)) {
        return library(word, if is_path { rest.get(2) } else { None }, line);
    }
    Ok(())
}

/// A path into the standard library: `first` is what follows `std::`.
fn library(name: &str, first: Option<&TokenTree>, line: u32) -> Result<(), Refusal> {
    match first {
        Some(TokenTree::Ident(module)) => module_allowed(name, &module.to_string(), line),
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let items: Vec<TokenTree> = group.stream().into_iter().collect();
            for item in items.split(|token| is_punct(Some(token), ',')).filter(|item| !item.is_empty()) {
                let line = item[0].span().start().line as u32;
                library(name, item.first(), line)?;
            }
            Ok(())
        }
        _ => {
            let reason =
                format!("name what you use of `{name}`: write for example `{name}::collections::HashMap`");
            Err(Refusal::at(line, reason))
        }
    }
}

fn module_allowed(library: &str, module: &str, line: u32) -> Result<(), Refusal> {
    if MODULES.contains(&module) {
        return Ok(());
    }
    let reason =
        format!("`{library}::{module}` is not allowed: a kernel computes with kernel_api, and nothing else");
    Err(Refusal::at(line, reason))
}

/// `rest` follows a `#`.
fn attribute(rest: &[TokenTree], line: u32) -> Result<(), Refusal> {
    let is_inner = is_punct(rest.first(), '!');
    let Some(TokenTree::Group(group)) = rest.get(usize::from(is_inner)) else { return Ok(()) };
    if group.delimiter() != Delimiter::Bracket {
        return Ok(());
    }
    let name = group.stream().into_iter().next().map(|token| token.to_string()).unwrap_or_default();
    let allowed = if is_inner { name == "doc" } else { ATTRIBUTES.contains(&name.as_str()) };
    if allowed {
        return Ok(());
    }
    Err(Refusal::at(line, format!("the attribute `{name}` is not allowed: use {}", ATTRIBUTES.join(", "))))
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}
