//! Takes a reply apart, in whatever shape a model gives it: SEARCH/REPLACE blocks, diffs, fenced code, JSON, or none of these.

use evaluator::block::{self, Marked};
use search::Language;

use super::{Form, PatchError, rewrite};

mod diff;
mod edits;
mod escapes;
mod fences;
mod json;
mod thinking;

pub(super) use edits::Edit;
pub(crate) use thinking::without_thinking;

/// What a reply answers with.
#[derive(Debug)]
pub(super) enum Content {
    /// Changes, in order; at least one.
    Edits(Vec<Edit>),
    /// A program, or what stands between its markers.
    Code(String),
}

/// A reply without what a model says to itself, with Unix line ends.
pub(super) struct Answer {
    text: String,
    /// Whether anything was there before thinking was left out.
    was_empty: bool,
}

impl Answer {
    pub(super) fn new(reply: &str) -> Self {
        let text = without_thinking(reply);
        let text = if escapes::hides_markers(&text) { escapes::unescaped(&text) } else { text };
        Self { text, was_empty: reply.trim().is_empty() }
    }

    /// What it answers with. `marked` is the parent.
    pub(super) fn content(
        &self,
        marked: &Marked,
        form: Form,
        language: Language,
    ) -> Result<Content, PatchError> {
        if self.text.trim().is_empty() {
            return Err(PatchError::Empty(!self.was_empty));
        }
        match (edits::find(&self.text), form) {
            (Ok(edits), _) if !edits.is_empty() => return Ok(Content::Edits(edits)),
            (Err(error), Form::Edits) => return Err(error),
            // A program may hold lines that look like markers.
            _ => {}
        }
        let code = self.code(marked, language);
        // A code block with the markers is a program, whatever is said about it with diffs.
        if let Ok(code) = &code
            && block::parse(code).is_ok()
        {
            return Ok(Content::Code(unescaped(code, marked)));
        }
        if let Some(edits) = diff::find(&self.text) {
            return Ok(Content::Edits(edits));
        }
        if let Some(content) = json::find(&self.text)? {
            return Ok(content);
        }
        match (code, form) {
            (Ok(code), Form::FullRewrite) => Ok(Content::Code(unescaped(&code, marked))),
            // Where edits were asked for, code without markers is a program only if all of the frame is there.
            (Ok(code), Form::Edits) if rewrite::has_frame(&code, marked) => Ok(Content::Code(code)),
            (Err(error), Form::FullRewrite) | (Err(error @ PatchError::CutOff(_)), Form::Edits) => Err(error),
            (_, Form::Edits) => {
                Err(PatchError::NoCode { wanted: "no SEARCH/REPLACE block", start: start(&self.text) })
            }
        }
    }

    /// The reply's code: of the blocks in the program's language the one with EVOLVE-BLOCK markers, else the
    /// longest. A reply without a fence is code if it has the markers.
    fn code(&self, marked: &Marked, language: Language) -> Result<String, PatchError> {
        let blocks = fences::find(&self.text);
        if blocks.is_empty() {
            return unfenced(&self.text, marked).ok_or_else(|| PatchError::NoCode {
                wanted: "no fenced code block",
                start: start(&self.text),
            });
        }
        let names = names(language);
        let rank = |found: &fences::Fenced<'_>| {
            let parsed = block::parse(found.code).ok();
            let fits = match &*found.label {
                label if names.contains(&label) => 2,
                "" | "text" | "txt" | "plaintext" | "plain" | "code" => 1,
                // Whatever it is called, it is this program.
                _ if parsed.as_ref().is_some_and(|it| rewrite::same_frame(marked, it)) => 1,
                _ => u8::from(names.is_empty() && !["diff", "patch", "json"].contains(&&*found.label)),
            };
            (fits > 0, parsed.is_some(), fits, found.code.len())
        };
        let Some(best) = blocks.iter().max_by_key(|found| rank(found)) else {
            return Err(PatchError::NoCode { wanted: "no fenced code block", start: start(&self.text) });
        };
        let (fits, has_markers, ..) = rank(best);
        if !fits {
            let wanted = names.first().copied().unwrap_or("another language");
            return Err(PatchError::WrongLanguage { found: start(&best.label), wanted });
        }
        if !best.closed && !has_markers {
            return Err(PatchError::CutOff("its code block".to_owned()));
        }
        if best.code.trim().is_empty() {
            return Err(PatchError::NoCode { wanted: "an empty code block only", start: start(&self.text) });
        }
        Ok(if best.closed { best.code.to_owned() } else { completed(best.code, marked) })
    }
}

/// Code with `&lt;` for `<`, where the parent has no such thing.
fn unescaped(code: &str, marked: &Marked) -> String {
    let of_parent = |entity: &str| {
        marked.frame.iter().any(|piece| piece.contains(entity))
            || marked.blocks.iter().any(|block| block.content.contains(entity))
    };
    if escapes::is_escaped(code) && !escapes::ENTITIES.iter().any(|(entity, _)| of_parent(entity)) {
        escapes::unescaped(code)
    } else {
        code.to_owned()
    }
}

/// A program that breaks off after its last block: that one is whole, and what comes after it is known.
fn completed(code: &str, marked: &Marked) -> String {
    let lines: Vec<&str> = code.split_inclusive('\n').collect();
    let end = lines.iter().rposition(|line| line.contains("EVOLVE-BLOCK-END")).unwrap_or_default();
    let rest = marked.frame.last().and_then(|piece| piece.split_once('\n')).map_or("", |(_, rest)| rest);
    lines.iter().take(end + 1).copied().chain([rest]).collect()
}

/// A program without a fence around it, but perhaps with words before and after: from the line that the parent begins with to
/// the one that it ends with, as far as these are there.
fn unfenced(text: &str, marked: &Marked) -> Option<String> {
    block::parse(text).ok()?;
    let lines: Vec<&str> = text.lines().collect();
    let significant = |line: &&str| !line.trim().is_empty();
    let first = marked.frame.first().and_then(|piece| piece.lines().find(significant));
    let last = marked.frame.last().and_then(|piece| piece.lines().rev().find(significant));
    let is = |line: &str, wanted: Option<&str>| wanted.is_some_and(|wanted| wanted.trim() == line.trim());
    let is_marker = |line: &str| line.contains("EVOLVE-BLOCK-");
    let from = lines.iter().position(|line| is(line, first));
    let from = from.or_else(|| lines.iter().position(|line| is_marker(line)))?;
    let to = lines.iter().rposition(|line| is(line, last));
    let to = to.or_else(|| lines.iter().rposition(|line| is_marker(line)))?;
    let code = lines.get(from..=to)?.join("\n") + "\n";
    block::parse(&code).ok().map(|_| code)
}

fn names(language: Language) -> &'static [&'static str] {
    match language {
        Language::Rust => &["rust", "rs"],
        Language::Python => &["python", "py", "python3", "python2", "py3"],
        Language::Other => &[],
    }
}

/// Whether a line is a comment that stands for code which was left out: `// ... rest of the code unchanged ...`.
pub(super) fn is_elision(line: &str) -> bool {
    const WORDS: [&str; 12] = [
        "existing",
        "rest of",
        "unchanged",
        "same as",
        "remaining",
        "previous",
        "omitted",
        "as before",
        "as is",
        "original code",
        "other code",
        "stays the same",
    ];
    let line = line.trim();
    let is_comment = ["//", "#", "/*", "--", ";", "<!--"].iter().any(|leader| line.starts_with(leader));
    if !is_comment || line.len() > 200 || !(line.contains("...") || line.contains('…')) {
        return false;
    }
    let line = line.to_lowercase();
    WORDS.iter().any(|word| line.contains(word))
}

/// The first words of a text, for messages.
pub(super) fn start(text: &str) -> String {
    const LENGTH: usize = 80;
    let line = text.split_whitespace().take(20).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
