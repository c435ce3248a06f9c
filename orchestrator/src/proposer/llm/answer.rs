//! What an endpoint says when it says yes, read leniently: endpoints that are only nearly compatible leave
//! fields out, or add their own.

use search::Outcome;
use serde_json::Value;

use super::stream;
use super::tokens::Tokens;
use crate::patch::PatchError;
use crate::proposer::replay::StoredReply;

/// The reply of a model, or what came in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    content: Content,
    /// As the endpoint counts them, if it does.
    pub(super) tokens: Option<Tokens>,
    /// Whether it came in pieces.
    pub(super) streamed: bool,
    /// Bytes of text and reasoning, for what wasn't counted.
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    /// Text, and whether the model stopped at its limit of tokens.
    Text { text: String, cut_off: bool },
    /// No text, and why; with what was received, if that is worth keeping.
    Nothing { reason: String, received: Option<String> },
}

impl Answer {
    /// No answer at all after everything that was tried, but perhaps a part of one.
    pub(super) fn nothing(reason: String, received: Option<String>) -> Self {
        Self { content: Content::Nothing { reason, received }, tokens: None, streamed: false, bytes: 0 }
    }

    /// Reads a chat completion.
    pub(super) fn read(body: &Value) -> Self {
        let message = |key: &str| body.pointer(&format!("/choices/0/message/{key}"));
        let reasoning = message("reasoning_content").or_else(|| message("reasoning"));
        let bytes = stream::content(message("content")).len() + stream::content(reasoning).len();
        let streamed = body.get("object").and_then(Value::as_str) == Some(stream::STREAMED);
        Self { content: content(body), tokens: body.get("usage").and_then(Tokens::read), streamed, bytes }
    }

    /// An answer as it was kept in a recording.
    pub(super) fn from_stored(stored: &StoredReply) -> Self {
        let content = match (&stored.reason, stored.reply.clone()) {
            (None, Some(text)) => Content::Text { text, cut_off: stored.cut_off },
            (Some(reason), received) => Content::Nothing { reason: reason.clone(), received },
            (None, None) => {
                Content::Nothing { reason: "the stored reply is empty".to_owned(), received: None }
            }
        };
        Self { content, tokens: stored.tokens(), streamed: false, bytes: 0 }
    }

    /// The same for keeping: text, whether it was cut off, and why there is none.
    pub(super) fn to_stored(&self) -> (Option<String>, bool, Option<String>) {
        match &self.content {
            Content::Text { text, cut_off } => (Some(text.clone()), *cut_off, None),
            Content::Nothing { reason, received } => (received.clone(), false, Some(reason.clone())),
        }
    }

    /// The tokens that a prompt of so many bytes and this answer took, estimated if need be.
    pub(super) fn took(&self, sent_bytes: usize) -> Tokens {
        self.tokens.unwrap_or_else(|| Tokens::estimate(sent_bytes, self.bytes))
    }

    /// The model's text, or why there is none.
    pub(super) fn text(&self) -> Result<&str, String> {
        match &self.content {
            Content::Text { text, .. } => Ok(text),
            Content::Nothing { reason, .. } => Err(reason.clone()),
        }
    }

    /// The outcome of a reply that gives no program; a reply cut off by its limit can't be blamed for more.
    pub(super) fn explain(&self, error: PatchError) -> Outcome {
        match &self.content {
            Content::Text { cut_off: true, .. } if error != PatchError::NoChange => Outcome::NoProposal {
                reason: format!(
                    "the model reached max_tokens before it was done ({error}); raise llm.max_tokens"
                ),
            },
            _ => error.into(),
        }
    }
}

fn content(body: &Value) -> Content {
    let nothing = |reason: &str| {
        let received: String = body.to_string().chars().take(2000).collect();
        Content::Nothing { reason: reason.to_owned(), received: Some(received) }
    };
    let Some(choice) = body.pointer("/choices/0") else {
        return nothing("the endpoint's answer has no choices");
    };
    let finish = choice.get("finish_reason").and_then(Value::as_str).unwrap_or_default();
    let text = stream::content(choice.pointer("/message/content"));
    match (text.trim().is_empty(), finish) {
        (_, "content_filter") => nothing("the endpoint's content filter stopped the reply"),
        (true, "length") => {
            nothing("the model used up max_tokens before its answer began; raise llm.max_tokens")
        }
        (true, _) => match choice.pointer("/message/refusal").and_then(Value::as_str) {
            Some(words) => {
                nothing(&format!("the model refused: {}", words.chars().take(200).collect::<String>()))
            }
            None => nothing("the model's reply is empty"),
        },
        (false, _) => Content::Text { text, cut_off: finish == "length" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_least_that_an_endpoint_may_send_is_enough() {
        let answer = Answer::read(&json!({"choices": [{"message": {"content": "hi"}}]}));
        assert_eq!((answer.text(), answer.tokens), (Ok("hi"), None));
        assert_eq!(answer.took(8), Tokens { input: 2, output: 1, estimated: true, ..Tokens::default() });
    }

    #[test]
    fn content_may_come_in_parts() {
        let body = json!({"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}, {"x": 1}]}}]});
        assert_eq!(Answer::read(&body).text(), Ok("ab"));
    }

    #[test]
    fn no_text_is_explained() {
        for (body, words) in [
            (json!({}), "no choices"),
            (json!([]), "no choices"),
            (json!({"choices": []}), "no choices"),
            (json!({"choices": [{"message": {"content": null}}]}), "empty"),
            (json!({"choices": [{"message": {"content": ""}, "finish_reason": "length"}]}), "max_tokens"),
            (
                json!({"choices": [{"message": {"content": "x"}, "finish_reason": "content_filter"}]}),
                "content filter",
            ),
            (json!({"choices": [{"message": {"refusal": "No."}}]}), "refused: No."),
        ] {
            let reason = Answer::read(&body).text().unwrap_err();
            assert!(reason.contains(words), "{body}: {reason}");
        }
    }
}
