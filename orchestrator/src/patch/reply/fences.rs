//! Fenced code blocks, also within each other.

/// A fenced code block.
pub(super) struct Fenced<'a> {
    /// The first word after the fence, in small letters.
    pub(super) label: String,
    pub(super) code: &'a str,
    pub(super) closed: bool,
}

/// A block that isn't closed yet.
struct Open {
    sign: char,
    length: usize,
    indent: usize,
    label: String,
    from: usize,
}

/// All fenced blocks, inner ones too. A fence with a label always opens a block; one without closes the innermost that it fits,
/// as in `CommonMark`, or else opens one.
pub(super) fn find(answer: &str) -> Vec<Fenced<'_>> {
    /// Deeper than any reply is meant to be.
    const DEEPEST: usize = 8;
    let mut found = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    for line in answer.split_inclusive('\n') {
        let (start, end) = (at, at + line.len());
        at = end;
        let text = line.trim();
        let Some(sign) = text.chars().next().filter(|c| matches!(c, '`' | '~')) else { continue };
        let rest = text.trim_start_matches(sign);
        let length = text.len() - rest.len();
        if length < 3 || rest.contains('`') {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let label = label(rest);
        // Deeper than the opening fence by four, it is text of the block.
        let closes = |open: &Open| sign == open.sign && length >= open.length && indent < open.indent + 4;
        match open.last() {
            Some(last) if label.is_empty() && closes(last) => {
                if let Some(Open { label, from, .. }) = open.pop() {
                    found.push(Fenced { label, code: &answer[from..start], closed: true });
                }
            }
            // A shorter or other fence in a block is text of it.
            Some(last) if label.is_empty() || sign != last.sign || length < last.length => {}
            _ if open.len() < DEEPEST => open.push(Open { sign, length, indent, label, from: end }),
            _ => {}
        }
    }
    found.extend(open.into_iter().map(|Open { label, from, .. }| Fenced {
        label,
        code: &answer[from..],
        closed: false,
    }));
    found
}

/// `rust` of ` rust,ignore`, `{.rust}`, `Rust title="x"`, `rust:src/main.rs`.
fn label(info: &str) -> String {
    let info = info.trim_matches(|c: char| c.is_whitespace() || "{}.".contains(c));
    let word = info.split(|c: char| c.is_whitespace() || ",:{(".contains(c)).next().unwrap_or_default();
    word.to_ascii_lowercase()
}
