//! A streamed answer: server-sent events, put together into the chat completion that they are pieces of.
//!
//! Written by hand rather than with an event-stream crate, because a reply is hostile input: a byte that is no UTF-8 must not
//! cost the rest of a reply that is paid for, no line may grow without end, and what came before a stall is kept.

use serde_json::{Value, json};

/// Longest text that is kept of an answer, reasoning included, in bytes. A program is some ten thousand.
pub(super) const LONGEST_TEXT: usize = 4 * 1024 * 1024;

/// Longest line of a stream.
const LONGEST_LINE: usize = LONGEST_TEXT + 64 * 1024;

/// What a completion that was put together here is called, where one that came whole is a `chat.completion`.
pub(super) const STREAMED: &str = "chat.completion.chunks";

/// Whether more is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    More,
    Done,
}

/// What ends a stream before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// An event that is no JSON; its beginning.
    NotJson(String),
    /// The endpoint reports an error in place of the rest.
    Error(Value),
    /// Longer than [`LONGEST_TEXT`].
    TooLong,
    /// It ended, and nothing said that it was complete.
    CutOff,
}

/// Pieces of an answer, in the order they arrived.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    line: Vec<u8>,
    data: Vec<u8>,
    text: String,
    reasoning: String,
    refusal: String,
    finish: Option<String>,
    usage: Option<Value>,
    done: bool,
}

impl Pieces {
    /// Takes what has arrived.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Fed, Broken> {
        let mut rest = bytes;
        while !self.done {
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.line.extend_from_slice(rest);
                return if self.line.len() > LONGEST_LINE { Err(Broken::TooLong) } else { Ok(Fed::More) };
            };
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            self.line(&line)?;
        }
        Ok(Fed::Done)
    }

    /// The whole answer, once the stream has ended.
    pub(super) fn complete(&mut self) -> Result<Value, Broken> {
        // Some servers forget the empty line after the last event.
        let line = std::mem::take(&mut self.line);
        self.line(&line)?;
        self.event()?;
        if !self.done && self.finish.is_none() {
            return Err(Broken::CutOff);
        }
        let mut message = json!({ "role": "assistant", "content": self.text });
        for (key, text) in [("reasoning_content", &self.reasoning), ("refusal", &self.refusal)] {
            if !text.is_empty() {
                message[key] = text.as_str().into();
            }
        }
        Ok(json!({
            "object": STREAMED,
            "choices": [{ "index": 0, "finish_reason": self.finish, "message": message }],
            "usage": self.usage,
        }))
    }

    /// Whether the answer itself has begun: a model may think for minutes before that.
    pub(super) fn has_begun(&self) -> bool {
        !self.text.is_empty() || !self.reasoning.is_empty()
    }

    /// What there is of the answer so far.
    pub(super) fn so_far(&self) -> Partial {
        Partial { text: self.text.clone(), bytes: self.text.len() + self.reasoning.len() }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Broken> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return self.event();
        }
        // Comments, which keep a connection alive, and other fields say nothing to us.
        if let Some(data) = line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            if self.data.len() > LONGEST_LINE {
                return Err(Broken::TooLong);
            }
        }
        Ok(())
    }

    fn event(&mut self) -> Result<(), Broken> {
        let data = std::mem::take(&mut self.data);
        let data = String::from_utf8_lossy(&data);
        let data = data.trim();
        if data.is_empty() {
            return Ok(());
        }
        if data == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        let event: Value =
            serde_json::from_str(data).map_err(|_| Broken::NotJson(data.chars().take(1000).collect()))?;
        if event.get("error").is_some_and(|error| !error.is_null()) {
            return Err(Broken::Error(event));
        }
        if let Some(usage) = event.get("usage").filter(|usage| usage.is_object()) {
            self.usage = Some(usage.clone());
        }
        let choices = event.get("choices").and_then(Value::as_array).into_iter().flatten();
        for choice in choices.filter(|choice| choice.get("index").and_then(Value::as_u64).unwrap_or(0) == 0) {
            self.choice(choice);
        }
        if self.text.len() + self.reasoning.len() > LONGEST_TEXT { Err(Broken::TooLong) } else { Ok(()) }
    }

    fn choice(&mut self, choice: &Value) {
        let delta = choice.get("delta").or_else(|| choice.get("message")).unwrap_or(&Value::Null);
        let text = |key: &str| delta.get(key).and_then(Value::as_str).unwrap_or_default();
        self.text.push_str(&content(delta.get("content")));
        self.refusal.push_str(text("refusal"));
        // Two names for the same thing; an endpoint that sends both sends it twice.
        let reasoning = text("reasoning_content");
        self.reasoning.push_str(if reasoning.is_empty() { text("reasoning") } else { reasoning });
        if let Some(finish) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish = Some(finish.to_owned());
        }
    }
}

/// What came of an answer that didn't come whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Partial {
    /// The text, without reasoning.
    pub(super) text: String,
    /// Bytes received of text and reasoning: what was probably paid for.
    pub(super) bytes: usize,
}

/// A message's content, which is a text or a list of parts.
pub(super) fn content(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(stream: &[u8]) -> Result<Value, Broken> {
        let mut pieces = Pieces::default();
        pieces.feed(stream)?;
        pieces.complete()
    }

    fn text(stream: &[u8]) -> String {
        let value = read(stream).unwrap();
        value.pointer("/choices/0/message/content").and_then(Value::as_str).unwrap().to_owned()
    }

    const STREAM: &str = ": ping\n\nevent: message\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hmm\"}}]}\n\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hé\"}}]}\r\n\r\n\
        data:{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"no\"}},{\"index\":0,\"delta\":{\"content\":\"llo\"},\"finish_reason\":\"stop\"}]}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\ndata: [DONE]\n\ndata: not read any more\n\n";

    #[test]
    fn pieces_make_the_completion_that_they_come_from() {
        let value = read(STREAM.as_bytes()).unwrap();
        assert_eq!(text(STREAM.as_bytes()), "Héllo");
        assert_eq!(value.pointer("/choices/0/finish_reason"), Some(&json!("stop")));
        assert_eq!(value.pointer("/choices/0/message/reasoning_content"), Some(&json!("hmm")));
        assert_eq!(value.pointer("/usage/prompt_tokens"), Some(&json!(7)));
    }

    #[test]
    fn servers_may_leave_out_what_is_not_needed() {
        assert_eq!(
            text(b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}"),
            "a"
        );
        assert_eq!(
            text(b"data: {\"choices\":[{\"message\":{\"content\":[{\"text\":\"a\"}]}}]}\n\ndata: [DONE]"),
            "a"
        );
        assert_eq!(text(b"data: [DONE]\n\n"), "");
    }

    #[test]
    fn a_byte_that_is_no_utf8_costs_no_more_than_itself() {
        let stream = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\xffb\"}}]}\n\ndata: [DONE]\n\n";
        assert_eq!(text(stream), "a\u{fffd}b");
    }

    #[test]
    fn what_ends_a_stream_early_is_told_and_what_came_is_kept() {
        let begun = "data: {\"choices\":[{\"delta\":{\"content\":\"half a\"}}]}\n\n";
        for (rest, expected) in [
            ("", Broken::CutOff),
            ("data: oops\n\n", Broken::NotJson("oops".into())),
            ("data: {\"error\":{\"code\":429}}\n\n", Broken::Error(json!({"error": {"code": 429}}))),
        ] {
            let mut pieces = Pieces::default();
            assert!(!pieces.has_begun());
            let fed = pieces.feed(format!("{begun}{rest}").as_bytes());
            let ended = fed.and_then(|_| pieces.complete().map(|_| Fed::Done));
            assert_eq!(ended, Err(expected));
            assert!(pieces.has_begun());
            assert_eq!(pieces.so_far(), Partial { text: "half a".into(), bytes: 6 });
        }
    }

    #[test]
    fn nothing_grows_without_end() {
        let long = "x".repeat(LONGEST_TEXT / 2 + 1);
        let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{long}\"}}}}]}}\n\n");
        for (what, stream) in [
            ("text", event.repeat(2).into_bytes()),
            ("line", vec![b'x'; LONGEST_LINE + 1]),
            ("event", b"data: x\n".repeat(LONGEST_LINE)),
        ] {
            assert!(read(&stream) == Err(Broken::TooLong), "the {what} may grow");
        }
    }

    proptest! {
        #[test]
        fn where_a_stream_is_cut_into_packets_does_not_matter(
            cuts in prop::collection::vec(0usize..STREAM.len(), 0..12)
        ) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let (mut pieces, mut from) = (Pieces::default(), 0);
            for cut in cuts.into_iter().chain([STREAM.len()]) {
                pieces.feed(&STREAM.as_bytes()[from..cut]).unwrap();
                from = cut;
            }
            prop_assert_eq!(pieces.complete(), read(STREAM.as_bytes()));
        }

        #[test]
        fn no_stream_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }
    }
}
