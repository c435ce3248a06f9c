//! Text to token ids: a byte-level tokenizer for the synthetic model, `tokenizer.json` for the others.

use std::path::Path;

use crate::error::{Error, Result};

/// Turns text into token ids.
pub enum Tokenizer {
    /// One id per byte and a few specials.
    Bytes(ByteTokenizer),
    /// What a model folder brought.
    File(Box<FileTokenizer>),
}

impl Tokenizer {
    /// The ids of one example, as a conversation or plain text, with the end marker.
    pub fn encode(&self, example: &Example) -> Result<Vec<i32>> {
        match self {
            Self::Bytes(_) => Ok(ByteTokenizer::encode(example)),
            Self::File(file) => file.encode(example),
        }
    }
}

/// One training text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Example {
    /// A question and its answer.
    Completion {
        /// What the user says.
        prompt: String,
        /// What the assistant answers.
        completion: String,
    },
    /// Text as it is.
    Text(String),
}

/// Bytes are their own ids; specials follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteTokenizer;

impl ByteTokenizer {
    /// Ends a text.
    pub const END: i32 = 256;
    /// Begins what the user says.
    pub const USER: i32 = 257;
    /// Begins what the assistant says.
    pub const ASSISTANT: i32 = 258;
    /// Rows the embedding needs, rounded up to a multiple of 64.
    pub const VOCABULARY: i32 = 320;

    /// The ids of a text's bytes, without markers.
    pub fn encode_text(text: &str) -> Vec<i32> {
        text.bytes().map(i32::from).collect()
    }

    /// The text of byte ids, specials left out; `None` if an id doesn't exist or the bytes aren't UTF-8.
    pub fn decode(ids: &[i32]) -> Option<String> {
        let mut bytes = Vec::with_capacity(ids.len());
        for &id in ids {
            match u8::try_from(id) {
                Ok(byte) => bytes.push(byte),
                Err(_) if (Self::END..=Self::ASSISTANT).contains(&id) => {}
                Err(_) => return None,
            }
        }
        String::from_utf8(bytes).ok()
    }

    fn encode(example: &Example) -> Vec<i32> {
        let mut ids = Vec::new();
        match example {
            Example::Completion { prompt, completion } => {
                ids.push(Self::USER);
                ids.extend(Self::encode_text(prompt));
                ids.push(Self::ASSISTANT);
                ids.extend(Self::encode_text(completion));
            }
            Example::Text(text) => ids.extend(Self::encode_text(text)),
        }
        ids.push(Self::END);
        ids
    }
}

/// `tokenizer.json` and the conversation markers its vocabulary has.
pub struct FileTokenizer {
    tokenizer: tokenizers::Tokenizer,
    end: Option<u32>,
    /// Whether the vocabulary has `<|im_start|>` and `<|im_end|>` (`ChatML`, as all Qwen2 chat models).
    chat: bool,
}

/// What Qwen2.5's own template says first when a conversation brings no system message.
const QWEN_SYSTEM: &str = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";

impl FileTokenizer {
    /// Reads `tokenizer.json` in a model folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        if !path.is_file() {
            return Err(Error::model(
                folder,
                "no tokenizer.json in it, and text can't be turned into tokens without; copy it from the original model",
            ));
        }
        let tokenizer = tokenizers::Tokenizer::from_file(&path)
            .map_err(|error| Error::model(&path, format!("not a usable tokenizer: {error}")))?;
        let chat =
            tokenizer.token_to_id("<|im_start|>").is_some() && tokenizer.token_to_id("<|im_end|>").is_some();
        let end = tokenizer.token_to_id("<|im_end|>").or_else(|| tokenizer.token_to_id("<|endoftext|>"));
        Ok(Self { tokenizer, end, chat })
    }

    fn encode(&self, example: &Example) -> Result<Vec<i32>> {
        let (text, ends_itself) = match example {
            Example::Completion { prompt, completion } if self.chat => (
                format!(
                    "<|im_start|>system\n{QWEN_SYSTEM}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n\
                     <|im_start|>assistant\n{completion}<|im_end|>\n"
                ),
                true,
            ),
            Example::Completion { prompt, completion } => (format!("{prompt}\n{completion}"), false),
            Example::Text(text) => (text.clone(), false),
        };
        let encoding = self.tokenizer.encode(text, !ends_itself).map_err(|error| {
            Error::model(Path::new("tokenizer.json"), format!("can't encode a text: {error}"))
        })?;
        let mut ids = encoding.get_ids().to_vec();
        if let Some(end) = self.end.filter(|end| !ends_itself && ids.last() != Some(end)) {
            ids.push(end);
        }
        ids.into_iter()
            .map(|id| {
                i32::try_from(id).map_err(|_| {
                    Error::model(Path::new("tokenizer.json"), format!("token id {id} is out of range"))
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_survives_bytes_and_markers(prompt in any::<String>(), completion in any::<String>()) {
            let ids = ByteTokenizer::encode(&Example::Completion { prompt: prompt.clone(), completion: completion.clone() });
            prop_assert!(ids.iter().all(|id| (0..ByteTokenizer::VOCABULARY).contains(id)));
            prop_assert_eq!(ids.last(), Some(&ByteTokenizer::END));
            prop_assert_eq!(ByteTokenizer::decode(&ids), Some(prompt + &completion));
        }
    }

    #[test]
    fn ids_beyond_the_specials_are_no_text() {
        assert_eq!(ByteTokenizer::decode(&[104, 105]), Some("hi".into()));
        assert_eq!(ByteTokenizer::decode(&[ByteTokenizer::ASSISTANT + 1]), None);
        assert_eq!(ByteTokenizer::decode(&[-1]), None);
        assert_eq!(ByteTokenizer::decode(&[0xff]), None);
    }
}
