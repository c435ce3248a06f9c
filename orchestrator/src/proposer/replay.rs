//! Stored replies instead of a model: a file of JSON lines, for tests, demonstrations and bug reports.

use std::path::Path;

use futures::FutureExt;
use futures::future::BoxFuture;
use search::Outcome;
use serde::{Deserialize, Serialize};

use super::{Proposal, Proposer, ProposerError, Request};
use crate::operator::Operator;
use crate::patch::{self, Form};
use crate::prompt::{PromptSettings, Prompts};

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredReply {
    /// What the model said.
    pub reply: String,
    /// Which model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The proposal that it answers; absent: the next line's turn, in the order of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Tokens sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<u64>,
    /// Tokens received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<u64>,
    /// What they cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

/// Answers from a file. Which reply a proposal gets depends on its number alone, never on timing.
pub struct ReplayProposer {
    replies: Vec<StoredReply>,
    prompts: Prompts,
}

impl ReplayProposer {
    /// Reads a file of [`StoredReply`] lines; blank lines are skipped.
    pub fn open(path: &Path) -> Result<Self, ProposerError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ProposerError::setup(
                format!("{} can't be read: {error}", path.display()),
                "name a file of stored replies, one JSON object a line",
            )
        })?;
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let replies = lines.map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| {
                ProposerError::setup(
                    format!("{}, line {number}: {error}", path.display()),
                    "each line must be an object such as {\"reply\": \"...\"}",
                )
            })
        });
        Self::new(replies.collect::<Result<_, _>>()?)
    }

    /// Answers from memory.
    pub fn new(replies: Vec<StoredReply>) -> Result<Self, ProposerError> {
        Ok(Self { replies, prompts: Prompts::load(&PromptSettings::default())? })
    }

    /// Replies with this number first; else the n-th of those without a number, n being the proposal's.
    fn reply(&self, number: u64) -> Option<&StoredReply> {
        self.replies.iter().find(|stored| stored.number == Some(number)).or_else(|| {
            // Proposal 0 is the initial program, so the first reply is for proposal 1.
            let nth = usize::try_from(number.saturating_sub(1)).ok()?;
            self.replies.iter().filter(|stored| stored.number.is_none()).nth(nth)
        })
    }

    fn replay(&self, request: &Request) -> Result<Proposal, ProposerError> {
        // A stored reply may be of either form; this one takes both.
        let form = Form::FullRewrite;
        let prompt = self.prompts.render(Operator::of(request, false), form, request)?;
        let Some(stored) = self.reply(request.number.0) else {
            let reason = format!("no reply is stored for proposal {}", request.number);
            return Ok(Proposal {
                prompt: Some(prompt.text()),
                ..Proposal::offline(self.name(), "replay", Err(Outcome::NoProposal { reason }))
            });
        };
        let change = patch::apply(&stored.reply, request.base(), form, request.language);
        Ok(Proposal {
            model: stored.model.clone(),
            prompt: Some(prompt.text()),
            reply: Some(stored.reply.clone()),
            tokens_in: stored.tokens_in,
            tokens_out: stored.tokens_out,
            cost: stored.cost,
            ..Proposal::offline(self.name(), "replay", change.map_err(Into::into))
        })
    }
}

impl Proposer for ReplayProposer {
    fn name(&self) -> &'static str {
        "replay"
    }

    fn propose(&self, request: Request) -> BoxFuture<'_, Result<Proposal, ProposerError>> {
        async move { self.replay(&request) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use search::{Language, ProgramId};

    use super::*;
    use crate::proposer::{Exhibit, Guidance, ProblemText, Seen};

    const PARENT: &str = "// EVOLVE-BLOCK-START\nold\n// EVOLVE-BLOCK-END\n";

    fn request(number: u64) -> Request {
        Request {
            number: ProgramId(number),
            seed: 0,
            language: Language::Rust,
            problem: Arc::new(ProblemText::default()),
            parent: Exhibit::new(ProgramId::INITIAL, PARENT, None),
            inspirations: vec![],
            different: vec![],
            partner: None,
            successes: vec![],
            failures: vec![],
            repair: None,
            lessons: None,
            seen: Seen::nothing(),
            guidance: Guidance::default(),
        }
    }

    fn open(text: &str) -> Result<ReplayProposer, ProposerError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        ReplayProposer::open(file.path())
    }

    #[tokio::test]
    async fn replies_come_by_number_or_else_in_the_order_of_the_file() {
        let file = r#"{"reply": "```rust\nfirst\n```"}
{"reply": "```rust\nsecond\n```", "model": "m", "tokens_in": 5, "cost": 0.5}

{"reply": "<<<<<<< SEARCH\nold\n=======\nthird\n>>>>>>> REPLACE", "number": 1}
"#;
        let proposer = open(file).unwrap();
        let mut changes = Vec::new();
        for number in 1..=3 {
            changes.push(proposer.propose(request(number)).await.unwrap());
        }
        assert_eq!(changes[0].change, Ok(PARENT.replace("old", "third")));
        assert_eq!(changes[1].change, Ok(PARENT.replace("old", "second")));
        assert_eq!(
            (changes[1].model.as_deref(), changes[1].tokens_in, changes[1].cost),
            (Some("m"), Some(5), Some(0.5))
        );
        assert!(matches!(changes[2].change, Err(Outcome::NoProposal { .. })));
        assert!(changes.iter().all(|proposal| proposal.prompt.is_some()));
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = open("{\"reply\": \"x\"}\n{\"rply\": 1}\n").map(|_| ()).unwrap_err();
        assert!(error.what.contains("line 2") && error.what.contains("rply"), "{error}");
        assert!(ReplayProposer::open(Path::new("/nonexistent.jsonl")).is_err());
    }
}
