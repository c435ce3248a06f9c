//! What the evaluator answers.

use search::Outcome;
use serde::{Deserialize, Serialize};

use crate::order::Tier;
use crate::protocol::Decision;
use crate::trial::TrialRecord;

/// Everything that one evaluation left behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Every trial in the order it ran, failed ones too.
    pub trials: Vec<TrialRecord>,
    /// What the protocol made of the trials; absent if it wasn't asked, or if a trial turned out to be forged.
    pub decision: Option<Decision>,
    /// What the search has to remember of a program that is, or would have been, the best; command problems only.
    #[serde(default)]
    pub noise: Option<crate::noise::Record>,
    /// Text for the next prompt: compiler errors, failed comparisons, the end of standard error.
    pub artifacts: Vec<Artifact>,
    /// Who measured it, and how.
    pub measured_by: MeasuredBy,
    /// Milliseconds since the Unix epoch.
    pub started_at: i64,
    /// Milliseconds since the Unix epoch.
    pub ended_at: i64,
}

/// A named text. The evaluator bounds its length to [`Artifact::LIMIT`] bytes, and all of one evaluation to
/// [`Artifact::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// What it is, e.g. `compiler`, `comparisons`, `stderr`.
    pub name: String,
    /// The text.
    pub content: String,
}

impl Artifact {
    /// Longest content, in bytes.
    pub const LIMIT: usize = 1 << 20;
    /// Of all texts of one evaluation together, in bytes.
    pub const ALL: usize = 8 << 20;
    /// What every text may have, however long those before it were, in bytes.
    pub(crate) const LINES: usize = 4096;
    /// Most texts of one evaluation.
    pub const COUNT: usize = 1000;
    /// Longest name, in bytes.
    const NAME: usize = 200;

    /// Cuts out the middle of an overlong text, since its beginning and end say most.
    pub fn new(name: impl Into<String>, content: &str) -> Self {
        Self::within(Self::LIMIT, name, content)
    }

    /// The same with a smaller limit, in bytes.
    pub(crate) fn within(limit: usize, name: impl Into<String>, content: &str) -> Self {
        let mut name: String = name.into();
        name.truncate(name.floor_char_boundary(Self::NAME));
        Self { name, content: shorten(content, limit.min(Self::LIMIT)) }
    }
}

/// `text` if it has at most `limit` bytes, else its beginning and its end around a note of how much is missing.
pub fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    // The note's own length, and a bit more.
    let half = limit.saturating_sub(64) / 2;
    let head = text.floor_char_boundary(half);
    let tail = text.ceil_char_boundary(text.len() - half);
    format!("{}\n... ({} bytes left out) ...\n{}", &text[..head], tail - head, &text[tail..])
}

/// Which evaluator, harness, MLX and device measured, and by which protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredBy {
    /// This crate's version.
    pub evaluator: String,
    /// The MLX harness's version; absent for command problems.
    pub harness: Option<String>,
    /// MLX's version; absent for command problems.
    pub mlx: Option<String>,
    /// `cpu`, `metal` or `cuda`; absent for command problems.
    pub backend: Option<String>,
    /// The processor's or GPU's name; absent for command problems.
    pub device: Option<String>,
    /// How well this system shut the candidate in.
    pub sandbox: Tier,
    /// The protocol's name, e.g. `fixed`, `command`.
    pub protocol: String,
    /// The protocol's parameters as a JSON object.
    pub parameters: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlong_artifact_keeps_its_beginning_and_end_on_character_boundaries() {
        let text = format!("begin{}end", "é".repeat(Artifact::LIMIT));
        let artifact = Artifact::new("stderr", &text);
        assert!(artifact.content.len() <= Artifact::LIMIT);
        assert!(artifact.content.len() > Artifact::LIMIT - 100);
        assert!(artifact.content.starts_with("begin") && artifact.content.ends_with("end"));
        let kept = artifact.content.matches('é').count();
        let note = format!("({} bytes left out)", 2 * (Artifact::LIMIT - kept));
        assert!(artifact.content.contains(&note), "{note}");
        assert_eq!(Artifact::new("stderr", "short").content, "short");
    }
}
