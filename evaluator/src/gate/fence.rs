//! What a kernel may use of Rust, decided on tokens. Not the boundary, only the first fence: it tells a proposer early, and in
//! words, what would end elsewhere with less explanation.
//!
//! Rules look at tokens wherever they stand, macro arguments and attributes included, since nobody knows here what becomes of those.

use std::collections::HashSet;

use super::Refusal;
use super::library;
use super::token::{self, Kind, Token, Unreadable};
use crate::block::Block;

/// Words that are refused wherever they stand, and what to do instead.
const WORDS: &[(&str, &str)] = &[
    ("unsafe", SAFE),
    ("extern", "a kernel links nothing; use kernel_api"),
    ("asm", SOURCE),
    ("global_asm", SOURCE),
    ("naked_asm", SOURCE),
    ("llvm_asm", SOURCE),
    ("include_str", FILES),
    ("include_bytes", FILES),
    ("option_env", ENVIRONMENT),
    ("macro_rules", FUNCTION),
    ("macro", FUNCTION),
    ("concat_idents", FUNCTION),
    ("MaybeUninit", "start from a value, as with vec![0.0; n] or Option"),
    ("ManuallyDrop", "let values drop, or keep them in a field"),
    ("catch_unwind", PANICS),
    ("resume_unwind", PANICS),
    ("set_hook", PANICS),
    ("take_hook", PANICS),
    ("update_hook", PANICS),
    ("no_mangle", EXPORTS),
    ("export_name", EXPORTS),
    ("link_section", EXPORTS),
    ("link_name", EXPORTS),
    ("evolve_build", EXPORTS),
    ("target_feature", "the compiler chooses the instructions; use kernel_api for fast arithmetic"),
    ("global_allocator", "memory is MLX's; use Vec and Array"),
    ("panic_handler", PANICS),
    ("alloc_error_handler", PANICS),
    ("MlxLmLora", COMPARED),
    ("MlxLmDora", COMPARED),
];

const COMPARED: &str =
    "it is what kernels are compared with; write the layer with Array's operations or `ops`";
const SAFE: &str = "kernels are safe Rust";
const SOURCE: &str = "kernels are safe Rust; a GPU's own code goes through kernel_api::gpu, as text";
const FILES: &str = "a kernel reads no files; write constants into the code";
const ENVIRONMENT: &str = "a kernel reads no environment; write a constant";
const FUNCTION: &str = "write a function, perhaps a generic one, instead of a macro";
const PANICS: &str = "return an Err instead of panicking";
const EXPORTS: &str = "a kernel exports nothing itself; the harness calls `build`";

/// Macros of std that only compute. All others are refused where they are called.
const MACROS: &[&str] = &[
    "assert",
    "assert_eq",
    "assert_ne",
    "column",
    "compile_error",
    "concat",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "file",
    "format",
    "format_args",
    "line",
    "matches",
    "module_path",
    "panic",
    "stringify",
    "thread_local",
    "todo",
    "unimplemented",
    "unreachable",
    "vec",
    "write",
    "writeln",
];

/// Attributes that only inform the compiler.
const ATTRIBUTES: &[&str] = &[
    "allow",
    "cold",
    "default",
    "deny",
    "deprecated",
    "derive",
    "doc",
    "expect",
    "forbid",
    "inline",
    "must_use",
    "non_exhaustive",
    "repr",
    "track_caller",
    "warn",
];

/// Those of them that may stand for all that is around them.
const LINTS: &[&str] = &["allow", "deny", "expect", "forbid", "warn"];

/// What may be derived.
const DERIVES: &[&str] =
    &["Clone", "Copy", "Debug", "Default", "Eq", "Hash", "Ord", "PartialEq", "PartialOrd"];

/// Words after which `!` is a negation, not a macro call. (Others can't stand there.)
const KEYWORDS: &[&str] = &[
    "as", "async", "await", "break", "const", "continue", "dyn", "else", "enum", "false", "fn", "for", "if",
    "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "static", "struct",
    "trait", "true", "type", "use", "where", "while", "yield",
];

/// Whether a block is code by itself: no bracket, quote or comment reaches into the frame.
pub(super) fn stands_alone(block: &Block) -> Result<(), Refusal> {
    // A line within the block, as one of the program.
    let place = |line: u32| block.first_line + line - 1;
    match token::tokens(&block.content) {
        Ok(_) => Ok(()),
        Err(Unreadable::Open { line }) => {
            let reason = "the block's code doesn't stand on its own: a bracket, quote or comment that starts or ends here has \
                          no counterpart in the block";
            Err(Refusal::at(place(line), reason))
        }
        Err(Unreadable::Refused(Refusal { line, reason })) => Err(Refusal { line: line.map(place), reason }),
    }
}

/// Whether the whole program keeps to what is allowed.
pub(super) fn check(program: &str) -> Result<(), Refusal> {
    if let Some(line) = token::first_direction_control(program) {
        return Err(Refusal::at(line, "a character that changes the direction of writing: leave it out"));
    }
    let tokens = token::tokens(program).map_err(|unreadable| match unreadable {
        Unreadable::Open { line } => {
            Refusal::at(line, "this isn't Rust: a bracket, quote or comment has no counterpart")
        }
        Unreadable::Refused(refusal) => refusal,
    })?;
    let functions = functions(&tokens);
    let mut declaration = None;
    for at in 0..tokens.len() {
        let place = Place { tokens: &tokens, at, in_use: in_use(&tokens, at, &mut declaration) };
        place.look(&functions)?;
    }
    Ok(())
}

/// Names of the program's own functions.
fn functions<'a>(tokens: &[Token<'a>]) -> HashSet<&'a str> {
    let pairs = tokens.windows(2).filter(|pair| pair[0].text == "fn" && pair[1].kind == Kind::Word);
    pairs.map(|pair| pair[1].text).collect()
}

/// Whether a token stands in a `use` declaration. `declaration` is the depth of the one that is open; to be asked in order.
fn in_use(tokens: &[Token<'_>], at: usize, declaration: &mut Option<usize>) -> bool {
    let token = tokens[at];
    if let Some(depth) = *declaration {
        let ends = token.depth < depth || (token.depth == depth && [";", "=", "!"].contains(&token.text));
        if ends {
            *declaration = None;
        }
    }
    if token.text == "use" && token.kind == Kind::Word {
        // `impl Trait + use<'a>` is no declaration.
        let is_bound = tokens.get(at + 1).is_some_and(|next| next.text == "<");
        if !is_bound {
            *declaration = Some(token.depth);
        }
        return false;
    }
    declaration.is_some()
}

/// One token and what is around it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    /// Whether this is in a `use` declaration.
    in_use: bool,
}

impl<'a> Place<'a> {
    fn token(&self) -> Token<'a> {
        self.tokens[self.at]
    }

    /// The text of the token so many places on; empty beyond the end.
    pub(super) fn next(&self, distance: usize) -> &'a str {
        self.tokens.get(self.at + distance).map_or("", |token| token.text)
    }

    fn next_is_word(&self, distance: usize) -> bool {
        self.tokens.get(self.at + distance).is_some_and(|token| token.kind == Kind::Word)
    }

    /// The text of the token so many places back; empty before the start.
    pub(super) fn previous(&self, distance: usize) -> &'a str {
        self.at.checked_sub(distance).map_or("", |at| self.tokens[at].text)
    }

    /// Whether a `::` follows so many places on.
    pub(super) fn is_path(&self, distance: usize) -> bool {
        self.next(distance) == ":" && self.next(distance + 1) == ":"
    }

    /// The same, so many places on.
    pub(super) fn after(&self, distance: usize) -> Self {
        Self { at: self.at + distance, ..*self }
    }

    pub(super) fn in_use(&self) -> bool {
        self.in_use
    }

    /// What stands in brackets from here on: places of the first token of each item, separated by commas.
    pub(super) fn items(&self) -> Vec<Self> {
        let depth = self.token().depth;
        let mut items = Vec::new();
        let mut is_first = true;
        for at in self.at + 1..self.tokens.len() {
            let token = self.tokens[at];
            if token.kind == Kind::Close && token.depth == depth {
                break;
            }
            if is_first {
                items.push(Self { at, ..*self });
            }
            is_first = token.depth == depth + 1 && token.text == ",";
        }
        items
    }

    pub(super) fn refuse(&self, reason: impl Into<String>) -> Result<(), Refusal> {
        Err(Refusal::at(self.token().line, reason))
    }

    /// All rules, at this token.
    fn look(&self, functions: &HashSet<&str>) -> Result<(), Refusal> {
        match (self.token().kind, self.token().text) {
            (Kind::Word, word) => {
                self.word(word, functions)?;
                self.item(word)?;
                self.call(word)?;
                self.hidden(word)?;
                library::check(self, word)
            }
            (Kind::Punct, "#") => self.attribute(),
            (Kind::Punct, "*") => self.raw_pointer(),
            (Kind::Punct, "&") => self.raw_borrow(),
            (Kind::Punct, "$") => self.refuse(format!("`$` is not allowed: {FUNCTION}")),
            _ => Ok(()),
        }
    }

    fn word(&self, word: &str, functions: &HashSet<&str>) -> Result<(), Refusal> {
        if let Some((_, advice)) = WORDS.iter().find(|(forbidden, _)| *forbidden == word) {
            return self.refuse(format!("`{word}` is not allowed: {advice}"));
        }
        if word.starts_with("transmute") && self.is_reached() {
            return self.refuse(format!(
                "`{word}` is not allowed: {SAFE}; convert with `as`, `to_bits` or `astype`"
            ));
        }
        // std's own are unsafe; a function of the program that has such a name is just a function.
        let is_unsafe = word.starts_with("from_raw")
            || word.contains("_unchecked")
            || word.starts_with("unchecked_")
            || ["addr_of", "addr_of_mut", "uninitialized", "zeroed"].contains(&word);
        // And a variable is just a variable.
        if is_unsafe && !functions.contains(word) && self.is_reached() {
            return self.refuse(format!("`{word}` is not allowed: {SAFE}; use the checked form"));
        }
        Ok(())
    }

    /// Whether this word names something of another place: it is called, or part of a path or an import.
    fn is_reached(&self) -> bool {
        let is_macro = self.next(1) == "!" && self.next(2) != "=";
        let is_called = is_macro || self.next(1) == "(" || self.is_path(1);
        let is_part = self.previous(1) == ":" && self.previous(2) == ":";
        is_called || is_part || self.in_use
    }

    fn item(&self, word: &str) -> Result<(), Refusal> {
        let named = self.next_is_word(1);
        match word {
            "mod" if named && self.next(2) == ";" => {
                let name = self.next(1);
                let advice = format!("a program is one file; write `mod {name} {{ ... }}`");
                self.refuse(format!("`mod {name};` is not allowed: {advice}"))
            }
            "static" if self.next(1) == "mut" => {
                let advice = "use a field, a Cell or RefCell, or an atomic";
                self.refuse(format!("`static mut` is not allowed: {advice}"))
            }
            "union" if named && !KEYWORDS.contains(&self.next(1)) => {
                self.refuse("a `union` is not allowed: use an enum")
            }
            _ => Ok(()),
        }
    }

    /// A macro call, or the name of a macro made to look like another's.
    fn call(&self, word: &str) -> Result<(), Refusal> {
        if self.next(1) == "!" && !KEYWORDS.contains(&word) {
            let called = self.tokens.get(self.at + 2);
            let is_call = called.is_some_and(|token| token.kind == Kind::Open || token.kind == Kind::Word);
            if is_call && !MACROS.contains(&word) {
                return self.refuse(macro_reason(word));
            }
        }
        if self.in_use && self.previous(1) == "as" && MACROS.contains(&word) {
            return self.refuse(format!("`as {word}` is not allowed: a macro has that name; choose another"));
        }
        Ok(())
    }

    /// The parts of `kernel_api` that aren't for kernels.
    fn hidden(&self, word: &str) -> Result<(), Refusal> {
        let follows_path = self.previous(1) == ":" && self.previous(2) == ":";
        if word == "host" && (self.in_use || follows_path || self.is_path(1)) {
            return self.refuse("`host` is not allowed: it is the harness's side of kernel_api; use Array's operations and `ops`");
        }
        Ok(())
    }

    fn attribute(&self) -> Result<(), Refusal> {
        let is_inner = self.next(1) == "!";
        let open = self.after(1 + usize::from(is_inner));
        if open.next(0) != "[" {
            return Ok(());
        }
        let name = open.next(1);
        let is_tool = open.is_path(2);
        // Tests are built by nobody here, and looked at like everything else.
        let is_test =
            name == "test" || (name == "cfg" && (2..=4).map(|at| open.next(at)).eq(["(", "test", ")"]));
        let allowed = match (is_inner, is_tool) {
            (_, true) => name == "rustfmt" && !is_inner,
            (true, false) => name == "doc" || LINTS.contains(&name),
            (false, false) => ATTRIBUTES.contains(&name) || is_test,
        };
        if !allowed {
            return self.refuse(if is_inner {
                format!("the attribute `#![{name}]` is not allowed: write `#[...]` above an item instead")
            } else {
                format!("the attribute `#[{name}]` is not allowed: use {}", ATTRIBUTES.join(", "))
            });
        }
        if name == "derive" && open.next(2) == "(" {
            for item in open.after(2).items() {
                if !DERIVES.contains(&item.next(0)) || ![",", ")"].contains(&item.next(1)) {
                    let reason =
                        format!("`{}` can't be derived here: use {}", item.next(0), DERIVES.join(", "));
                    return item.refuse(reason);
                }
            }
        }
        Ok(())
    }

    fn raw_pointer(&self) -> Result<(), Refusal> {
        // `a * const { 3 }` is a product.
        let is_pointer = self.next(1) == "mut" || (self.next(1) == "const" && self.next(2) != "{");
        if is_pointer {
            return self.refuse(format!(
                "the raw pointer `*{}` is not allowed: {SAFE}; use references, Rc or indices",
                self.next(1)
            ));
        }
        Ok(())
    }

    fn raw_borrow(&self) -> Result<(), Refusal> {
        if self.next(1) == "raw" && ["const", "mut"].contains(&self.next(2)) {
            return self.refuse(format!("`&raw {}` is not allowed: {SAFE}; use references", self.next(2)));
        }
        Ok(())
    }
}

fn macro_reason(name: &str) -> String {
    let advice = match name {
        "env" => ENVIRONMENT.to_owned(),
        "include" => FILES.to_owned(),
        "dbg" | "eprint" | "eprintln" | "print" | "println" => {
            "a kernel prints nothing; return an Err with the words".to_owned()
        }
        "cfg" => "a kernel is the same in every build; use an `if`".to_owned(),
        _ => format!("a kernel may call {}", MACROS.join("!, ") + "!"),
    };
    format!("`{name}!` is not allowed: {advice}")
}
