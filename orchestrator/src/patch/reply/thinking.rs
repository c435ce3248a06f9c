//! Leaves out what a model says to itself, and what its server should have left out.

const THINKING: [(&str, &str); 6] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[think]", "[/think]"),
    ("◁think▷", "◁/think▷"),
];

/// Tokens that end a turn, left in the text by some servers.
const ENDS: [&str; 8] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|end|>",
    "<|return|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "</s>",
    "<｜end▁of▁sentence｜>",
];

/// The channel that holds the answer proper in the harmony format.
const FINAL: &str = "<|channel|>final<|message|>";

/// The reply with Unix line ends, without byte order marks and without what a reasoning model says to itself.
pub(crate) fn without_thinking(reply: &str) -> String {
    let mut text = reply.replace("\r\n", "\n").replace('\r', "\n").replace('\u{feff}', "");
    if let Some(at) = text.rfind(FINAL) {
        text.drain(..at + FINAL.len());
    }
    for (open, close) in THINKING {
        text = without_tag(&text, open, close);
    }
    loop {
        let end = text.trim_end();
        let Some(token) = ENDS.iter().find(|token| end.ends_with(*token)) else { break };
        text.truncate(end.len() - token.len());
    }
    text
}

/// Drops `<tag> ... </tag>`, in capitals or not. The opening tag counts at the start of a line only. Without an end everything
/// after it goes; an end without a start (some servers swallow the opening tag) takes everything before it.
fn without_tag(text: &str, open: &str, close: &str) -> String {
    // As many bytes as the text, so that places are the same.
    let lower = text.to_ascii_lowercase();
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    // Every round looks no further than the tag that it consumes: a megabyte of tags is read in one pass.
    while let Some(end) = lower[at..].find(close) {
        let before = &lower[at..at + end];
        match at_line_start(before, open) {
            Some(start) => kept.push_str(&text[at..at + start]),
            None if before.lines().last().is_none_or(|line| line.trim().is_empty()) => kept.clear(),
            None => break,
        }
        at += end + close.len();
    }
    let rest = &text[at..];
    kept.push_str(&rest[..at_line_start(&lower[at..], open).unwrap_or(rest.len())]);
    kept
}

fn at_line_start(text: &str, what: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = line.trim_start();
        if start.starts_with(what) {
            return Some(at + line.len() - start.len());
        }
        at += line.len();
    }
    None
}
