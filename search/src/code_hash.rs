//! A name for code that spaces and comments don't change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::program::Language;
use crate::tokens::Tokens;

/// The first 128 bits of the SHA-256 of a program's tokens; written as 32 hexadecimal digits.
/// The same for all versions and machines, so that it may be stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CodeHash([u8; 16]);

/// A text is not a code hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a code hash is 32 hexadecimal digits, not {0:?}")]
pub struct NotACodeHash(pub String);

/// The hash of a program's tokens: two programs share it if they differ in nothing but what their language ignores.
///
/// - Rust: spaces between tokens and comments (doc comments too) don't count.
/// - Python: spaces within a line, blank lines and comments don't count; indentation counts as structure,
///   however wide it is.
/// - Other: only spaces at the end of a line, and blank lines at the end of the text, don't count.
pub fn token_hash(source: &str, language: Language) -> CodeHash {
    CodeHash::of(&Tokens::of(source, language))
}

impl CodeHash {
    pub(crate) fn of(tokens: &Tokens) -> Self {
        let digest = Sha256::digest(tokens.as_bytes());
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest[..16]);
        Self(hash)
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodeHash({self})")
    }
}

impl FromStr for CodeHash {
    type Err = NotACodeHash;

    fn from_str(text: &str) -> Result<Self, NotACodeHash> {
        let wrong = || NotACodeHash(text.to_owned());
        // `from_str_radix` alone would take a sign.
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u128::from_str_radix(text, 16).map(|bits| Self(bits.to_be_bytes())).map_err(|_| wrong())
    }
}

impl TryFrom<String> for CodeHash {
    type Error = NotACodeHash;
    fn try_from(text: String) -> Result<Self, NotACodeHash> {
        text.parse()
    }
}

impl From<CodeHash> for String {
    fn from(hash: CodeHash) -> String {
        hash.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_survives_its_text_form() {
        let hash = token_hash("fn main() {}", Language::Rust);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(serde_json::from_str::<CodeHash>(&json).unwrap(), hash);
    }

    #[test]
    fn a_stored_hash_stays_valid() {
        // A change of these breaks duplicate detection in every stored run.
        for (language, expected) in [
            (Language::Rust, "b0fc17888e9b43aaf052d5654a2ec3f3"),
            (Language::Python, "6a78d942070cf03f7f14a745d54a1c10"),
            (Language::Other, "6c2f8afc07b98a11510288a1c095582e"),
        ] {
            assert_eq!(
                token_hash("if a:\n    b = 'c' # d\n", language).to_string(),
                expected,
                "{language:?}"
            );
        }
    }

    #[test]
    fn other_texts_are_not_hashes() {
        for text in ["", "12", "+2345678901234567890123456789012", "g2345678901234567890123456789012"] {
            assert_eq!(text.parse::<CodeHash>(), Err(NotACodeHash(text.into())));
        }
    }
}
