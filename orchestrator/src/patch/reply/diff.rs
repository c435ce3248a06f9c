//! Changes written as a diff: unified, or in the form of `apply_patch`.

use super::edits::Edit;

/// The hunks of a diff as edits: context and removed lines are searched for, context and added lines take their place. None if
/// the answer holds no diff. Numbers of lines are ignored: models get them wrong.
pub(super) fn find(answer: &str) -> Option<Vec<Edit>> {
    let mut edits = Vec::new();
    let mut hunk: Option<Hunk<'_>> = None;
    // Within `apply_patch`'s frame, or a code block that says it is a diff: there hunks need no `@@`.
    let (mut in_patch, mut in_fence) = (false, false);
    for line in answer.lines() {
        let starts = |start: &str| line.starts_with(start);
        if starts("*** Begin Patch") || starts("*** Update File:") || starts("*** Add File:") {
            in_patch = true;
            close(&mut hunk, &mut edits);
        } else if starts("*** End") {
            in_patch = false;
            close(&mut hunk, &mut edits);
        } else if let Some(label) = line.trim_start().strip_prefix("```") {
            in_fence = ["diff", "patch", "udiff"].contains(&label.trim().to_ascii_lowercase().as_str());
            close(&mut hunk, &mut edits);
        } else if starts("@@") {
            close(&mut hunk, &mut edits);
            hunk = Some(Hunk::default());
        } else if (starts("--- ") || starts("+++ ")) && !in_patch || starts("diff --git ") {
            // Within a hunk `--- ` may also be a removed line, but a program with lines of `-- ` is rarer than a header.
            close(&mut hunk, &mut edits);
        } else if hunk.is_some() || (in_patch || in_fence) && line.starts_with(['-', '+', ' ']) {
            hunk.get_or_insert_default().add(line);
        }
    }
    close(&mut hunk, &mut edits);
    (!edits.is_empty()).then_some(edits)
}

#[derive(Default)]
struct Hunk<'a> {
    search: Vec<&'a str>,
    replace: Vec<&'a str>,
    changes: bool,
    over: bool,
}

impl<'a> Hunk<'a> {
    fn add(&mut self, line: &'a str) {
        let mut characters = line.chars();
        match characters.next() {
            _ if self.over => {}
            Some('-') => {
                self.search.push(characters.as_str());
                self.changes = true;
            }
            Some('+') => {
                self.replace.push(characters.as_str());
                self.changes = true;
            }
            Some(' ') => {
                self.search.push(characters.as_str());
                self.replace.push(characters.as_str());
            }
            // The space of an empty context line is often lost.
            None => {
                self.search.push("");
                self.replace.push("");
            }
            // `\ No newline at end of file`
            Some('\\') => {}
            // Words after the diff.
            Some(_) => self.over = true,
        }
    }
}

fn close(hunk: &mut Option<Hunk<'_>>, edits: &mut Vec<Edit>) {
    if let Some(Hunk { mut search, mut replace, changes: true, .. }) = hunk.take() {
        // Empty lines at the end belong to what follows the diff.
        while search.last() == Some(&"") && replace.last() == Some(&"") {
            search.pop();
            replace.pop();
        }
        edits.push(Edit::of(&search, &replace));
    }
}
