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

/// A named text. The evaluator bounds its length to [`Artifact::LIMIT`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// What it is, e.g. `compiler`, `comparisons`, `stderr`.
    pub name: String,
    /// The text.
    pub content: String,
}

impl Artifact {
    /// Longest content, in bytes.
    pub const LIMIT: usize = 16 * 1024;

    /// Cuts out the middle of an overlong text, since its beginning and end say most.
    pub fn new(name: impl Into<String>, content: &str) -> Self {
        Self { name: name.into(), content: shorten(content, Self::LIMIT) }
    }
}

/// `text` if it has at most `limit` bytes, else its beginning and its end around a note.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let note = format!("\n... ({} bytes in all) ...\n", text.len());
    let half = limit.saturating_sub(note.len()) / 2;
    let head = text.floor_char_boundary(half);
    let tail = text.ceil_char_boundary(text.len() - half);
    format!("{}{note}{}", &text[..head], &text[tail..])
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
        let text = format!("begin{}end", "é".repeat(20_000));
        let artifact = Artifact::new("stderr", &text);
        assert!(artifact.content.len() <= Artifact::LIMIT);
        assert!(artifact.content.starts_with("begin") && artifact.content.ends_with("end"));
        assert_eq!(Artifact::new("stderr", "short").content, "short");
    }
}
