//! Takes a reply apart: thinking, SEARCH/REPLACE blocks, fenced code.

use std::borrow::Cow;

use evaluator::block;
use search::Language;

use super::PatchError;

/// One SEARCH/REPLACE block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit<'a> {
    /// Lines to find, without their ends.
    pub(super) search: Vec<&'a str>,
    /// Lines to put there.
    pub(super) replace: Vec<&'a str>,
}

const THINKING: [&str; 4] = ["think", "thinking", "thought", "reasoning"];

/// The reply with Unix line ends and without what a reasoning model says to itself.
pub(super) fn without_thinking(reply: &str) -> String {
    let reply: Cow<'_, str> = if reply.contains('\r') {
        Cow::Owned(reply.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(reply)
    };
    let mut text: String = reply.into_owned();
    for tag in THINKING {
        text = without_tag(&text, tag);
    }
    text
}

/// Drops `<tag> ... </tag>`. The opening tag counts at the start of a line only. Without an end everything
/// after it goes; an end without a start (some servers swallow the opening tag) takes everything before it.
fn without_tag(text: &str, tag: &str) -> String {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    // Every round looks no further than the tag that it consumes: a megabyte of tags is read in one pass.
    while let Some(end) = rest.find(&close) {
        let before = &rest[..end];
        match at_line_start(before, &open) {
            Some(start) => kept.push_str(&before[..start]),
            None if before.lines().last().is_none_or(|line| line.trim().is_empty()) => kept.clear(),
            None => break,
        }
        rest = &rest[end + close.len()..];
    }
    kept.push_str(&rest[..at_line_start(rest, &open).unwrap_or(rest.len())]);
    kept
}

fn at_line_start(text: &str, what: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = line.trim_start();
        if start.starts_with(what) {
            return Some(at + line.len() - start.len());
        }
        at += line.len();
    }
    None
}

#[derive(PartialEq)]
enum Mark {
    Search,
    Divider,
    Replace,
}

/// What an edit marker a line is, if any. Models vary their number of signs; seven are right.
fn mark(line: &str) -> Option<Mark> {
    let line = line.trim();
    let signs = |sign: char| {
        let rest = line.trim_start_matches(sign);
        let count = line.len() - rest.len();
        (5..=9).contains(&count).then(|| rest.trim().trim_end_matches(':'))
    };
    match line.chars().next()? {
        '<' if signs('<')?.eq_ignore_ascii_case("search") => Some(Mark::Search),
        '=' if signs('=')?.is_empty() => Some(Mark::Divider),
        '>' if signs('>')?.eq_ignore_ascii_case("replace") => Some(Mark::Replace),
        _ => None,
    }
}

/// All SEARCH/REPLACE blocks in order; none at all is no error.
pub(super) fn edits(answer: &str) -> Result<Vec<Edit<'_>>, PatchError> {
    enum In<'a> {
        Prose,
        Search(Vec<&'a str>),
        Replace(Edit<'a>),
    }
    let mut edits = Vec::new();
    let mut state = In::Prose;
    for (number, line) in (1_usize..).zip(answer.lines()) {
        let malformed = |what| Err(PatchError::Malformed { edit: edits.len() + 1, line: number, what });
        state = match (state, mark(line)) {
            (In::Prose, Some(Mark::Search)) => In::Search(Vec::new()),
            (In::Prose, Some(Mark::Replace)) => {
                return malformed("`>>>>>>> REPLACE` without `<<<<<<< SEARCH` before it");
            }
            (In::Prose, _) => In::Prose,
            (In::Search(search), Some(Mark::Divider)) => In::Replace(Edit { search, replace: Vec::new() }),
            (In::Search(_), Some(_)) => return malformed("`=======` is missing between SEARCH and REPLACE"),
            (In::Search(mut search), None) => {
                search.push(line);
                In::Search(search)
            }
            (In::Replace(edit), Some(Mark::Replace)) => {
                edits.push(edit);
                In::Prose
            }
            (In::Replace(_), Some(Mark::Search)) => {
                return malformed("`>>>>>>> REPLACE` is missing before the next edit");
            }
            // A line of `=` is ordinary text in some programs.
            (In::Replace(mut edit), _) => {
                edit.replace.push(line);
                In::Replace(edit)
            }
        };
    }
    match state {
        In::Prose => Ok(edits),
        _ => Err(PatchError::CutOff(format!("edit {}", edits.len() + 1))),
    }
}

/// A fenced code block.
struct Fenced<'a> {
    label: String,
    code: &'a str,
    closed: bool,
}

fn fenced(answer: &str) -> Vec<Fenced<'_>> {
    let mut found = Vec::new();
    let mut open: Option<(char, usize, String, usize)> = None;
    let mut at = 0;
    for line in answer.split_inclusive('\n') {
        let (start, end) = (at, at + line.len());
        at = end;
        let text = line.trim();
        let Some(sign) = text.chars().next().filter(|c| matches!(c, '`' | '~')) else { continue };
        let rest = text.trim_start_matches(sign);
        let count = text.len() - rest.len();
        if count < 3 {
            continue;
        }
        match &open {
            None if !rest.contains('`') => {
                let label = rest.trim_matches(|c: char| c.is_whitespace() || "{}.".contains(c));
                let label = label.split(|c: char| c.is_whitespace() || c == ',').next().unwrap_or_default();
                open = Some((sign, count, label.to_ascii_lowercase(), end));
            }
            Some((fence, length, label, from))
                if sign == *fence && count >= *length && rest.trim().is_empty() =>
            {
                found.push(Fenced { label: label.clone(), code: &answer[*from..start], closed: true });
                open = None;
            }
            _ => {}
        }
    }
    if let Some((_, _, label, from)) = open {
        found.push(Fenced { label, code: &answer[from..], closed: false });
    }
    found
}

fn names(language: Language) -> &'static [&'static str] {
    match language {
        Language::Rust => &["rust", "rs"],
        Language::Python => &["python", "py", "python3"],
        Language::Other => &[],
    }
}

/// The reply's code: of the blocks in the program's language the one with EVOLVE-BLOCK markers, else the
/// longest. A reply without a fence is code if it has the markers.
pub(super) fn code(answer: &str, language: Language) -> Result<&str, PatchError> {
    let blocks = fenced(answer);
    if blocks.is_empty() {
        return if block::parse(answer).is_ok() {
            Ok(answer)
        } else {
            Err(PatchError::NoCode { wanted: "no fenced code block", start: start(answer) })
        };
    }
    let names = names(language);
    let rank = |found: &Fenced<'_>| {
        let fits = match &*found.label {
            label if names.contains(&label) => 2,
            "" | "text" | "plaintext" | "code" => 1,
            _ => u8::from(names.is_empty()),
        };
        (fits > 0, block::parse(found.code).is_ok(), fits, found.code.len())
    };
    let Some(best) = blocks.iter().max_by_key(|found| rank(found)) else {
        return Err(PatchError::NoCode { wanted: "no fenced code block", start: start(answer) });
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
        return Err(PatchError::NoCode { wanted: "an empty code block only", start: start(answer) });
    }
    Ok(best.code)
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
