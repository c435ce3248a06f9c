//! SEARCH/REPLACE blocks, in the spellings that models give them.

use evaluator::block;

use crate::patch::PatchError;

/// One SEARCH/REPLACE block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::patch) struct Edit {
    /// Lines to find, without their ends.
    pub(in crate::patch) search: Vec<String>,
    /// Lines to put there.
    pub(in crate::patch) replace: Vec<String>,
}

impl Edit {
    pub(super) fn of(search: &[&str], replace: &[&str]) -> Self {
        let owned = |lines: &[&str]| unfenced(lines).iter().map(|line| (*line).to_owned()).collect();
        Self { search: owned(search), replace: owned(replace) }
    }

    /// Whether it puts a whole program in the place of nothing.
    pub(in crate::patch) fn is_whole_program(&self) -> bool {
        self.search.iter().all(|line| line.trim().is_empty())
            && block::parse(&self.replace.join("\n")).is_ok()
    }
}

/// Lines without a fence that surrounds all of them.
fn unfenced<'a, 'b>(lines: &'b [&'a str]) -> &'b [&'a str] {
    let blank = |line: &&&str| line.trim().is_empty();
    let start = lines.iter().take_while(blank).count();
    let end = lines.len() - lines.iter().rev().take_while(blank).count();
    match lines.get(start..end) {
        Some([first, inner @ .., last]) if first.trim().starts_with("```") && last.trim() == "```" => inner,
        _ => lines,
    }
}

#[derive(Debug, PartialEq)]
enum Mark {
    Search,
    /// With its number of signs.
    Divider(usize),
    Replace,
}

/// What an edit marker a line is, if any. Models vary their number of signs (seven are right), decorate the line, say
/// `ORIGINAL` and `UPDATED` (an older form of the same), or use minus and plus signs (Cline's form).
fn mark(line: &str) -> Option<Mark> {
    let decoration =
        |c: char| c.is_whitespace() || matches!(c, '*' | '`' | '"' | '\'' | '“' | '”' | '‘' | '’');
    let line = line.trim_matches(decoration);
    let sign = line.chars().next().filter(|c| matches!(c, '<' | '>' | '=' | '-' | '+'))?;
    let rest = line.trim_start_matches(sign);
    let count = line.len() - rest.len();
    if !(5..=9).contains(&count) {
        return None;
    }
    let word = rest.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let is = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    match sign {
        '<' | '-' if is(&["search", "original", "old"]) => Some(Mark::Search),
        '>' | '+' if is(&["replace", "updated", "new"]) => Some(Mark::Replace),
        '=' if rest.trim().is_empty() => Some(Mark::Divider(count)),
        _ => None,
    }
}

/// All SEARCH/REPLACE blocks in order; none at all is no error.
pub(super) fn find(answer: &str) -> Result<Vec<Edit>, PatchError> {
    /// The lines of a block that has begun, and which of them are dividers, with their number of signs.
    struct Open<'a> {
        lines: Vec<&'a str>,
        dividers: Vec<(usize, usize)>,
    }
    let mut edits = Vec::new();
    let mut open: Option<Open<'_>> = None;
    for (number, line) in (1_usize..).zip(answer.lines()) {
        let malformed = |what| Err(PatchError::Malformed { edit: edits.len() + 1, line: number, what });
        match (&mut open, mark(line)) {
            (None, Some(Mark::Search)) => open = Some(Open { lines: Vec::new(), dividers: Vec::new() }),
            (None, Some(Mark::Replace)) => {
                return malformed("`>>>>>>> REPLACE` without `<<<<<<< SEARCH` before it");
            }
            (None, _) => {}
            (Some(Open { dividers, .. }), Some(Mark::Search)) => {
                return malformed(if dividers.is_empty() {
                    "`=======` is missing between SEARCH and REPLACE"
                } else {
                    "`>>>>>>> REPLACE` is missing before the next edit"
                });
            }
            (Some(Open { lines, dividers }), Some(Mark::Replace)) => {
                // A line of `=` is ordinary text in some programs: the first of seven is the divider, else the first.
                let seven = dividers.iter().find(|(_, signs)| *signs == 7).or(dividers.first());
                let Some(&(divider, _)) = seven else {
                    return malformed("`=======` is missing between SEARCH and REPLACE");
                };
                edits.push(Edit::of(&lines[..divider], &lines[divider + 1..]));
                open = None;
            }
            (Some(Open { lines, dividers }), mark) => {
                if let Some(Mark::Divider(signs)) = mark {
                    dividers.push((lines.len(), signs));
                }
                lines.push(line);
            }
        }
    }
    match open {
        None => Ok(edits),
        // The fence around it was closed, so the reply didn't end too early: the marker was forgotten.
        Some(Open { lines, dividers })
            if !dividers.is_empty() && lines.iter().any(|line| line.trim() == "```") =>
        {
            let line = answer.lines().count();
            Err(PatchError::Malformed { edit: edits.len() + 1, line, what: "`>>>>>>> REPLACE` is missing" })
        }
        Some(_) => Err(PatchError::CutOff(format!("edit {}", edits.len() + 1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_known_in_many_spellings_and_code_is_none() {
        for line in
            ["<<<<<<< SEARCH", "<<<<< search", "**<<<<<<< SEARCH**", "`<<<<<<< SEARCH`", "“<<<<<<< SEARCH”"]
        {
            assert_eq!(mark(line), Some(Mark::Search), "{line}");
        }
        for line in ["<<<<<<< SEARCH src/lib.rs", "<<<<<<< ORIGINAL", "------- SEARCH", "  <<<<<<< SEARCH:"] {
            assert_eq!(mark(line), Some(Mark::Search), "{line}");
        }
        for line in [">>>>>>> REPLACE", ">>>>>>> UPDATED", "+++++++ REPLACE", ">>>>>>>> Replace"] {
            assert_eq!(mark(line), Some(Mark::Replace), "{line}");
        }
        assert_eq!(mark("======="), Some(Mark::Divider(7)));
        for line in [
            "x << 3",
            "<<<< SEARCH",
            "<<<<<<< SEARCHING",
            "// =======",
            "a = b",
            "---",
            "-------",
            "====== x",
        ] {
            assert_eq!(mark(line), None, "{line}");
        }
    }
}
