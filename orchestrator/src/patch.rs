//! Turns a model's reply into a new program, or says why it can't.
//!
//! A reply is hostile input. Whatever is in it: nothing here panics, an edit that doesn't fit is an error with
//! the place (never the unchanged parent), and only what lies between the EVOLVE-BLOCK markers can change.

use evaluator::block::{self, BlockError};
use search::{Language, Outcome};

mod edit;
mod reply;
mod rewrite;

use reply::Content;
pub(crate) use reply::without_thinking;

/// What the model was asked to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// SEARCH/REPLACE blocks.
    Edits,
    /// The program, or the content of its EVOLVE-BLOCK, in a fenced code block.
    FullRewrite,
}

/// Most edits that one reply may have: each costs a look through the program.
const MOST_EDITS: usize = 200;

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
    /// More edits than anybody needs.
    #[error("the reply has {0} edits; at most {MOST_EDITS} are applied, so answer with the whole program")]
    TooMany(usize),
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
    /// A comment stands where code was left out.
    #[error("the answer leaves code out where it says `{0}`; write out every line that stays")]
    Elided(String),
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

/// The program that `reply` makes of `parent`. Edits (also as a diff, or in JSON) are welcome where a full rewrite was asked
/// for, and so is a whole program where edits were.
pub fn apply(reply: &str, parent: &str, form: Form, language: Language) -> Result<String, PatchError> {
    let marked = block::parts(parent)?;
    let answer = reply::Answer::new(reply);
    let program = match answer.content(&marked, form, language)? {
        Content::Edits(edits) if edits.len() > MOST_EDITS => return Err(PatchError::TooMany(edits.len())),
        Content::Edits(edits) => match &edits[..] {
            // Some models "replace" nothing by the whole program.
            [only] if only.is_whole_program() => rewrite::apply(&only.replace.join("\n"), parent, &marked)?,
            edits => edit::apply(edits, parent, &marked)?,
        },
        Content::Code(code) => rewrite::apply(&code, parent, &marked)?,
    };
    if let Some(line) = program.lines().find(|line| reply::is_elision(line) && !parent.contains(line.trim()))
    {
        return Err(PatchError::Elided(reply::start(line)));
    }
    if program == parent { Err(PatchError::NoChange) } else { Ok(program) }
}
