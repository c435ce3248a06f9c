//! Applies SEARCH/REPLACE blocks, line by line.

use std::borrow::Cow;
use std::ops::Range;

use evaluator::block::{self, Marked};

use super::PatchError;
use super::reply::Edit;

/// How nearly a line must be the one searched for, from strict to lenient.
const TIERS: [fn(&str, &str) -> bool; 4] = [
    |ours, theirs| ours == theirs,
    // Indentation and trailing spaces differ.
    |ours, theirs| ours.trim() == theirs.trim(),
    // Spaces within the line differ.
    |ours, theirs| ours.split_whitespace().eq(theirs.split_whitespace()),
    // Quotes, dashes and spaces were made typographic.
    |ours, theirs| plain(ours).split_whitespace().eq(plain(theirs).split_whitespace()),
];

/// The last of them: then what takes the place is made plain too.
const TYPOGRAPHIC: usize = TIERS.len() - 1;

/// A line as a keyboard would have it.
fn plain(line: &str) -> Cow<'_, str> {
    let typographic =
        |c: char| matches!(c, '\u{2018}'..='\u{201f}' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{a0}');
    if !line.contains(typographic) {
        return Cow::Borrowed(line);
    }
    let plain = |c| match c {
        '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{a0}' => ' ',
        other => other,
    };
    Cow::Owned(line.chars().map(plain).collect())
}

/// Applies the edits one after the other; each sees what those before it did.
pub(super) fn apply(edits: &[Edit], parent: &str, marked: &Marked) -> Result<String, PatchError> {
    let mut program = parent.to_owned();
    for (number, edit) in (1_usize..).zip(edits) {
        let place = locate(edit, number, &program)?;
        let changed = replace(&program, edit, &place);
        let outside = |line| PatchError::OutsideBlock { line, edit: Some(number) };
        let now = block::parts(&changed).map_err(|_| outside(place.lines.start as u32 + 1))?;
        if marked.first_frame_difference(&now).is_some() {
            // The line of the program as the model saw it: where the edit first leaves the block.
            let before = block::parts(&program)?;
            let first = place.lines.clone().find(|line| !inside(&before, line..&(line + 1)));
            return Err(outside(first.unwrap_or(place.lines.start) as u32 + 1));
        }
        program = changed;
    }
    Ok(program)
}

/// Where an edit goes: lines of the program, from 0, and the first line of the SEARCH text that counts.
struct Place {
    lines: Range<usize>,
    /// Blank lines dropped from the start and the end of both texts.
    skipped: (usize, usize),
    /// Whether it was found only with its typographic characters made plain.
    typographic: bool,
}

fn locate(edit: &Edit, number: usize, program: &str) -> Result<Place, PatchError> {
    let lines: Vec<&str> = program.lines().collect();
    let marked = block::parts(program)?;
    let search: Vec<&str> = edit.search.iter().map(String::as_str).collect();
    let blank = |line: &&&str| line.trim().is_empty();
    let leading = search.iter().take_while(blank).count();
    if leading == search.len() {
        return into_empty_block(&marked, number);
    }
    let trailing = search.iter().rev().take_while(blank).count();
    let core = &search[leading..search.len() - trailing];

    // As written first; blank lines around it count only then.
    let exactly = places(&lines, &search, TIERS[0]);
    if let Some(at) = exactly.iter().copied().find(|at| inside(&marked, at..&(at + search.len()))) {
        return Ok(Place { lines: at..at + search.len(), skipped: (0, 0), typographic: false });
    }
    let mut outside = None;
    for (tier, same) in TIERS.into_iter().enumerate() {
        let found = places(&lines, core, same);
        let place = |at: usize| Place {
            lines: at..at + core.len(),
            skipped: (leading, trailing),
            typographic: tier == TYPOGRAPHIC,
        };
        let mut within = found.iter().copied().filter(|at| inside(&marked, at..&(at + core.len())));
        match (within.next(), within.next()) {
            (Some(first), Some(second)) if tier > 0 => {
                return Err(PatchError::Ambiguous { edit: number, first: first + 1, second: second + 1 });
            }
            (Some(first), _) => return Ok(place(first)),
            _ => outside = outside.or(found.first().map(|at| place(*at))),
        }
    }
    // Not in a block: perhaps the edit repeats a marker or a line of the frame without changing it.
    outside.ok_or_else(|| PatchError::NotFound { edit: number, nearest: nearest(&lines, core) })
}

/// An edit that searches for nothing may fill a block that holds nothing.
fn into_empty_block(marked: &Marked, number: usize) -> Result<Place, PatchError> {
    match &marked.blocks[..] {
        [block] if block.content.trim().is_empty() => {
            let first = block.first_line as usize - 1;
            Ok(Place {
                lines: first..first + block.content.lines().count(),
                skipped: (0, 0),
                typographic: false,
            })
        }
        _ => Err(PatchError::NotFound { edit: number, nearest: "the SEARCH text is empty".to_owned() }),
    }
}

fn places(lines: &[&str], search: &[&str], same: fn(&str, &str) -> bool) -> Vec<usize> {
    lines
        .windows(search.len().max(1))
        .enumerate()
        .filter(|(_, window)| window.iter().zip(search).all(|(ours, theirs)| same(ours, theirs)))
        .map(|(at, _)| at)
        .collect()
}

/// Whether lines (from 0) lie in one block.
fn inside(marked: &Marked, lines: Range<&usize>) -> bool {
    marked.blocks.iter().any(|block| {
        let first = block.first_line as usize - 1;
        first <= *lines.start && *lines.end <= first + block.content.lines().count()
    })
}

fn replace(program: &str, edit: &Edit, place: &Place) -> String {
    let lines: Vec<&str> = program.split_inclusive('\n').collect();
    let (leading, trailing) = place.skipped;
    let search: Vec<&str> = edit.search.iter().map(String::as_str).collect();
    let new: Vec<&str> = edit.replace.iter().map(String::as_str).collect();
    let new = trimmed(&new, leading, trailing);
    let (ours, theirs) = (first_indent(&lines[place.lines.clone()]), first_indent(&search));
    let mut changed: String = lines[..place.lines.start].concat();
    for line in new {
        let line = if place.typographic { plain(line) } else { Cow::Borrowed(*line) };
        changed.push_str(&reindent(&line, theirs, ours));
        changed.push('\n');
    }
    changed.push_str(&lines[place.lines.end..].concat());
    changed
}

/// Drops as many blank lines from both ends as were dropped from the SEARCH text, if they are there.
fn trimmed<'a, 'b>(lines: &'b [&'a str], leading: usize, trailing: usize) -> &'b [&'a str] {
    let blank = |line: &&&str| line.trim().is_empty();
    let start = lines.iter().take(leading).take_while(blank).count();
    let rest = &lines[start..];
    let end = rest.iter().rev().take(trailing).take_while(blank).count();
    &rest[..rest.len() - end]
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

fn first_indent<'a>(lines: &[&'a str]) -> &'a str {
    lines.iter().find(|line| !line.trim().is_empty()).map_or("", |line| indent(line))
}

/// Moves a line from the indentation that the edit supposed to the one that the program has.
fn reindent(line: &str, supposed: &str, real: &str) -> String {
    if line.trim().is_empty() || supposed == real {
        return line.to_owned();
    }
    let text = line.trim_start();
    match (indent(line).strip_prefix(supposed), supposed.strip_prefix(indent(line))) {
        (Some(deeper), _) => format!("{real}{deeper}{text}"),
        // Further out than the first line: out by as much, as far as there is room.
        (None, Some(missing)) => {
            format!("{}{text}", &real[..floor(real, real.len().saturating_sub(missing.len()))])
        }
        (None, None) => line.to_owned(),
    }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The place that comes nearest to the text searched for, in words.
fn nearest(lines: &[&str], search: &[&str]) -> String {
    /// Beyond this much work (lines times lines) only the first searched line is looked at.
    const WORK: usize = 4_000_000;
    let clip = |text: &str| super::reply::start(text.trim());
    let search = if lines.len().saturating_mul(search.len()) > WORK { &search[..1] } else { search };
    let windows = lines.windows(search.len().min(lines.len()).max(1)).enumerate();
    let equal = |window: &[&str]| window.iter().zip(search).filter(|(a, b)| a.trim() == b.trim()).count();
    // The last of the best would do as well; the first is what a reader expects.
    let best = windows.map(|(at, window)| (equal(window), std::cmp::Reverse(at))).max();
    if let Some((1.., std::cmp::Reverse(at))) = best {
        let differs = lines[at..].iter().zip(search).position(|(ours, theirs)| ours.trim() != theirs.trim());
        return match differs {
            Some(offset) => format!(
                "nearest is line {}: the program has `{}`, the edit has `{}`",
                at + offset + 1,
                clip(lines[at + offset]),
                clip(search[offset]),
            ),
            None => format!("the program ends at line {} before it does", lines.len()),
        };
    }
    let first = search.first().copied().unwrap_or_default();
    let short = |text: &str| text.trim().chars().take(200).collect::<String>();
    let wanted = short(first);
    let similar = |line: &str| (strsim::sorensen_dice(&short(line), &wanted) * 1000.0) as u32;
    let best = lines.iter().enumerate().max_by_key(|(at, line)| (similar(line), std::cmp::Reverse(*at)));
    match best {
        Some((at, line)) if similar(line) > 300 => {
            format!(
                "nearest is line {}: the program has `{}`, the edit has `{}`",
                at + 1,
                clip(line),
                clip(first)
            )
        }
        _ => format!("nothing in the program is like `{}`", clip(first)),
    }
}
