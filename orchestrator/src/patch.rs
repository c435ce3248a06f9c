//! Turns a model's reply into a new program, or says why it can't.
//!
//! A reply is hostile input. Whatever is in it: nothing here panics, an edit that doesn't fit is an error with
//! the place (never the unchanged parent), and only what lies between the EVOLVE-BLOCK markers can change.

use evaluator::block::{self, BlockError, Marked};
use search::{Language, Outcome};

mod edit;
mod reply;
mod rewrite;

/// What the model was asked to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// SEARCH/REPLACE blocks.
    Edits,
    /// The program, or the content of its EVOLVE-BLOCK, in a fenced code block.
    FullRewrite,
}

/// Why a reply gives no program. Edits and lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// Nothing but spaces or thinking.
    #[error("the reply is empty{}", if *.0 { " after its thinking block" } else { "" })]
    Empty(bool),
    /// Neither edits nor code.
    #[error("the reply holds {wanted}; it begins: {start}")]
    NoCode {
        /// What is missing.
        wanted: &'static str,
        /// The first words of the reply.
        start: String,
    },
    /// The reply ends in the middle.
    #[error("the reply is cut off in {0}; a higher max_tokens may help")]
    CutOff(String),
    /// Only code blocks of other languages.
    #[error("the reply's code is {found}, the program is {wanted}")]
    WrongLanguage {
        /// The label of the reply's longest code block.
        found: String,
        /// The program's language.
        wanted: &'static str,
    },
    /// Markers of an edit are missing or out of order.
    #[error("edit {edit}, line {line} of the reply: {what}")]
    Malformed {
        /// Which edit.
        edit: usize,
        /// Where in the reply, thinking left out.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The text to search for isn't there.
    #[error("edit {edit}: its SEARCH text is not in the program; {nearest}")]
    NotFound {
        /// Which edit.
        edit: usize,
        /// The place in the program that comes nearest.
        nearest: String,
    },
    /// The text to search for is there several times, and never exactly as written.
    #[error(
        "edit {edit}: its SEARCH text differs in spaces from the program and could be at line {first} or {second}"
    )]
    Ambiguous {
        /// Which edit.
        edit: usize,
        /// One place.
        first: usize,
        /// Another.
        second: usize,
    },
    /// The reply changes what must stay.
    #[error("line {line} is outside the EVOLVE-BLOCK and must stay as it is{}", in_edit(*.edit))]
    OutsideBlock {
        /// Line in the program.
        line: u32,
        /// Which edit, if it was one.
        edit: Option<usize>,
    },
    /// Markers in the reply's code or in the parent are wrong.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The parent came back.
    #[error("the reply leaves the program as it was")]
    NoChange,
}

fn in_edit(edit: Option<usize>) -> String {
    edit.map(|edit| format!(" (edit {edit})")).unwrap_or_default()
}

impl From<PatchError> for Outcome {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::NoChange => Self::NoChange,
            PatchError::Empty(_)
            | PatchError::NoCode { .. }
            | PatchError::CutOff(_)
            | PatchError::WrongLanguage { .. } => Self::NoProposal { reason: error.to_string() },
            _ => Self::Patch { reason: error.to_string() },
        }
    }
}

/// The program that `reply` makes of `parent`. Edits are welcome where a full rewrite was asked for, and so
/// is a whole program (with its markers) where edits were.
pub fn apply(reply: &str, parent: &str, form: Form, language: Language) -> Result<String, PatchError> {
    let marked = block::parse(parent)?;
    let answer = reply::without_thinking(reply);
    if answer.trim().is_empty() {
        return Err(PatchError::Empty(!reply.trim().is_empty()));
    }
    let program = match form {
        Form::Edits => match reply::edits(&answer)? {
            edits if !edits.is_empty() => edit::apply(&edits, parent, &marked)?,
            _ => whole_program(&answer, parent, &marked, language)?,
        },
        // Edits inside a code block would be taken for code, so they are looked for first.
        Form::FullRewrite => match reply::edits(&answer) {
            Ok(edits) if !edits.is_empty() => edit::apply(&edits, parent, &marked)?,
            _ => rewrite::apply(reply::code(&answer, language)?, parent, &marked)?,
        },
    };
    if program == parent { Err(PatchError::NoChange) } else { Ok(program) }
}

fn whole_program(
    answer: &str,
    parent: &str,
    marked: &Marked,
    language: Language,
) -> Result<String, PatchError> {
    match reply::code(answer, language) {
        Ok(code) if block::parse(code).is_ok() => rewrite::apply(code, parent, marked),
        Err(error @ PatchError::CutOff(_)) => Err(error),
        _ => Err(PatchError::NoCode { wanted: "no SEARCH/REPLACE block", start: reply::start(answer) }),
    }
}
