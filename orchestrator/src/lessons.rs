//! Lessons: every so many outcomes a model writes down what the search has taught, for later prompts. When that is due, what it is made
//! from, and reading the answer; the run loop does the rest.
//!
//! Which version a prompt shows follows from how many outcomes had been told when it was asked for, never from how fast a model is.

use serde::Deserialize;

use crate::patch::without_thinking;
use crate::prompt::safe;

/// Longest lesson, in characters.
const LONGEST: usize = 400;

/// The `lessons` section of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LessonSettings {
    /// Outcomes between two versions. 0: no lessons.
    pub every: u64,
    /// Most lessons in a version.
    pub most: usize,
    /// The model that writes them; absent: one of the ensemble, by weight.
    pub model: Option<String>,
}

impl Default for LessonSettings {
    fn default() -> Self {
        Self { every: 50, most: 8, model: None }
    }
}

impl LessonSettings {
    /// The version that is due after so many outcomes; 0: none yet.
    pub fn due(&self, outcomes: u64) -> u32 {
        outcomes.checked_div(self.every).map_or(0, |version| u32::try_from(version).unwrap_or(u32::MAX))
    }

    /// The version that a prompt asked for after so many outcomes shows. A model has `slack` outcomes' time to write one before
    /// anybody has to wait for it.
    pub fn shown(&self, outcomes: u64, slack: u64) -> u32 {
        self.due(outcomes.saturating_sub(slack))
    }

    /// The outcomes that a version is made from: numbers from the first to below the second.
    pub fn range(&self, version: u32) -> std::ops::Range<u64> {
        let version = u64::from(version);
        version.saturating_sub(1).saturating_mul(self.every)..version.saturating_mul(self.every)
    }
}

/// The points of a reply's list, or why it holds none.
pub fn read(reply: &str, most: usize) -> Result<Vec<String>, String> {
    let text = safe(&without_thinking(reply));
    let mut lessons: Vec<String> = Vec::new();
    // Whether a line without a sign goes on with the point before it.
    let mut goes_on = false;
    for line in text.lines() {
        if let Some(point) = point(line) {
            lessons.push(point.to_owned());
            goes_on = true;
        } else if line.trim().is_empty() || line.trim_start().starts_with(['#', '`']) {
            goes_on = false;
        } else if let Some(last) = lessons.last_mut().filter(|_| goes_on) {
            last.push(' ');
            last.push_str(line.trim());
        }
    }
    lessons.retain(|lesson| lesson.chars().any(char::is_alphanumeric));
    lessons.truncate(most);
    for lesson in &mut lessons {
        if let Some((end, _)) = lesson.char_indices().nth(LONGEST) {
            lesson.truncate(end);
            lesson.push('…');
        }
    }
    if lessons.is_empty() {
        let start: String =
            text.split_whitespace().take(12).collect::<Vec<_>>().join(" ").chars().take(80).collect();
        return Err(if start.is_empty() {
            "the reply is empty".to_owned()
        } else {
            format!("the reply holds no list; it begins: {start}")
        });
    }
    Ok(lessons)
}

/// What stands after the sign of a list: `- `, `* `, `• `, `3. `, `3) `.
fn point(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let rest = line.strip_prefix(['-', '*', '•', '–']).or_else(|| {
        let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
        (digits.len() < line.len()).then(|| digits.strip_prefix(['.', ')'])).flatten()
    })?;
    // `**bold**` and `-5` are none.
    rest.strip_prefix([' ', '\t']).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_all_sorts_are_read() {
        for reply in [
            "- one\n- two\n",
            "Here are the lessons:\n\n1. one\n2. two\n",
            "<think>\n- no\n</think>\n* one\n* two",
            "## Lessons\n\n• one\n\n• two\n\nThat's all.",
            "1) one\r\n2) two\r\n",
            "```markdown\n- one\n- two\n```\n",
        ] {
            assert_eq!(read(reply, 5), Ok(vec!["one".to_owned(), "two".to_owned()]), "{reply}");
        }
        assert_eq!(read("- one\n  goes on\n- two", 1), Ok(vec!["one goes on".to_owned()]));
        let long = read(&format!("- {}", "é".repeat(5000)), 3).unwrap();
        assert_eq!(long[0].chars().count(), LONGEST + 1);
    }

    #[test]
    fn what_is_no_list_says_how_it_begins() {
        assert_eq!(read("", 3), Err("the reply is empty".to_owned()));
        assert!(read("I think that **all** is well. -5 is a number.", 3).unwrap_err().contains("I think"));
        assert!(read("- \n- --\n", 3).is_err());
    }

    #[test]
    fn a_version_is_due_after_so_many_outcomes_and_shown_a_little_later() {
        let settings = LessonSettings { every: 10, ..LessonSettings::default() };
        assert_eq!([9, 10, 19, 20].map(|told| settings.due(told)), [0, 1, 1, 2]);
        assert_eq!([10, 13, 14, 24].map(|told| settings.shown(told, 4)), [0, 0, 1, 2]);
        assert_eq!(settings.range(2), 10..20);
        let off = LessonSettings { every: 0, ..LessonSettings::default() };
        assert_eq!(off.due(1000), 0);
    }
}
