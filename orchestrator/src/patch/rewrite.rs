//! Puts a full rewrite into the parent's frame.

use evaluator::block::{self, BlockError, Marked};

use super::PatchError;

/// `code` is the whole program, with or without markers, or only what stands between them.
pub(super) fn apply(code: &str, parent: &str, marked: &Marked) -> Result<String, PatchError> {
    match block::parse(code) {
        Ok(given) => {
            if !frame_is_left_out(&given)
                && let Some(line) = frame_difference(parent, marked, &given)
            {
                return Err(PatchError::OutsideBlock { line, edit: None });
            }
            let contents: Vec<&str> = given.blocks.iter().map(|block| block.content.as_str()).collect();
            Ok(marked.splice(&contents)?)
        }
        Err(BlockError::None) => {
            let content = without_frame(code, marked).unwrap_or(code);
            Ok(marked.splice(&[content.trim_matches('\n')])?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a program has the frame of another, spaces aside.
pub(super) fn same_frame(marked: &Marked, given: &Marked) -> bool {
    !frame_is_left_out(given) && frame_difference("", marked, given).is_none()
}

/// Whether code without markers has all of the frame around its content.
pub(super) fn has_frame(code: &str, marked: &Marked) -> bool {
    without_frame(code, marked).is_some()
}

/// Whether there is nothing around the blocks but their markers.
fn frame_is_left_out(given: &Marked) -> bool {
    let lines: usize =
        given.frame.iter().flat_map(|piece| piece.lines()).filter(|line| !line.trim().is_empty()).count();
    lines <= 2 * given.blocks.len()
}

/// The first line of the parent's frame that the reply has otherwise, spaces aside.
fn frame_difference(parent: &str, marked: &Marked, given: &Marked) -> Option<u32> {
    if marked.blocks.len() != given.blocks.len() {
        return marked.blocks.first().map(|block| block.first_line);
    }
    let mut first_line = 1;
    for (index, (ours, theirs)) in marked.frame.iter().zip(&given.frame).enumerate() {
        let lines = |piece: &str| -> Vec<(u32, String)> {
            let lines = (first_line..).zip(piece.lines());
            lines
                .map(|(n, line)| (n, line.split_whitespace().collect()))
                .filter(|(_, line): &(u32, String)| !line.is_empty())
                .collect()
        };
        let (ours_lines, theirs_lines) = (lines(ours), lines(theirs));
        let same = ours_lines.iter().zip(&theirs_lines).take_while(|(a, b)| a.1 == b.1).count();
        if same < ours_lines.len().max(theirs_lines.len()) {
            let last = parent.lines().count() as u32;
            return Some(ours_lines.get(same).map_or(last, |(line, _)| *line));
        }
        first_line += ours.lines().count() as u32;
        first_line += marked.blocks.get(index).map_or(0, |block| block.content.lines().count() as u32);
    }
    None
}

/// The content of a program that has the parent's frame but not its markers; for one block only.
fn without_frame<'a>(code: &'a str, marked: &Marked) -> Option<&'a str> {
    let [before, after] = &marked.frame[..] else { return None };
    let significant = |piece: &str, skip_last: bool| -> Vec<String> {
        let mut lines: Vec<&str> = piece.lines().collect();
        if skip_last {
            lines.pop();
        } else if !lines.is_empty() {
            lines.remove(0);
        }
        lines
            .iter()
            .map(|line| line.split_whitespace().collect())
            .filter(|line: &String| !line.is_empty())
            .collect()
    };
    let (before, after) = (significant(before, true), significant(after, false));
    if before.is_empty() && after.is_empty() {
        return None;
    }
    let mut lines = Vec::new();
    let mut at = 0;
    for line in code.split_inclusive('\n') {
        let text: String = line.split_whitespace().collect();
        if !text.is_empty() {
            lines.push((at..at + line.len(), text));
        }
        at += line.len();
    }
    if lines.len() < before.len() + after.len() {
        return None;
    }
    let (head, tail) = (&lines[..before.len()], &lines[lines.len() - after.len()..]);
    let same = |ours: &[String], theirs: &[(std::ops::Range<usize>, String)]| {
        ours.iter().zip(theirs).all(|(ours, theirs)| *ours == theirs.1)
    };
    if !(same(&before, head) && same(&after, tail)) {
        return None;
    }
    let start = head.last().map_or(0, |(range, _)| range.end);
    let end = tail.first().map_or(code.len(), |(range, _)| range.start);
    code.get(start..end)
}
