//! What search needs of a program's source, in a few hundred bytes that can be stored beside it.

use crate::code_hash::CodeHash;
use crate::program::Language;
use crate::sketch::Sketch;
use crate::tokens::Tokens;
use crate::tune::{self, Tunable};

/// The form that [`Fingerprint::to_bytes`] writes. Another one means: make it anew from the source.
const FORM: u8 = 1;

/// A program's hash, sketch, length and tunable numbers. A function of its source alone, so that a replay needs no
/// source.
#[derive(Debug, Clone, PartialEq)]
pub struct Fingerprint {
    /// The name of its code.
    pub hash: CodeHash,
    /// Length in tokens.
    pub tokens: u32,
    pub(crate) sketch: Sketch,
    pub(crate) tunable: Option<Box<Tunable>>,
}

impl Fingerprint {
    /// Reads a source text once, for everything that search wants to know of it.
    pub fn of(source: &str, language: Language) -> Self {
        let tokens = Tokens::of(source, language);
        Self {
            hash: CodeHash::of(&tokens),
            tokens: u32::try_from(tokens.len()).unwrap_or(u32::MAX),
            sketch: Sketch::of(&tokens),
            tunable: tune::tunable(source, language).map(Box::new),
        }
    }

    /// The share of shingles that two programs have in common, estimated: 1 if they have the same.
    pub fn similarity(&self, other: &Self) -> f64 {
        1.0 - self.sketch.distance(&other.sketch)
    }

    /// The numbers in it that are marked for tuning.
    pub fn tunable(&self) -> Option<&Tunable> {
        self.tunable.as_deref()
    }

    /// As it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let hashes = self.sketch.hashes();
        let mut bytes = Vec::with_capacity(23 + 4 * hashes.len());
        bytes.push(FORM);
        bytes.extend(self.hash.to_bytes());
        bytes.extend(self.tokens.to_le_bytes());
        bytes.push(hashes.len() as u8);
        for hash in hashes {
            bytes.extend(hash.to_le_bytes());
        }
        if let Some(tunable) = &self.tunable {
            tunable.write(&mut bytes);
        }
        bytes
    }

    /// Reads what [`Fingerprint::to_bytes`] wrote; none for anything else, also for another version's form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (form, rest) = bytes.split_first()?;
        if *form != FORM {
            return None;
        }
        let (hash, rest) = rest.split_first_chunk()?;
        let (tokens, rest) = rest.split_first_chunk()?;
        let (count, mut rest) = rest.split_first()?;
        let mut hashes = Vec::with_capacity((*count).into());
        for _ in 0..*count {
            let (hash, after) = rest.split_first_chunk()?;
            hashes.push(u32::from_le_bytes(*hash));
            rest = after;
        }
        let tunable = if rest.is_empty() { None } else { Some(Box::new(Tunable::read(rest)?)) };
        Some(Self {
            hash: CodeHash::from_bytes(*hash),
            tokens: u32::from_le_bytes(*tokens),
            sketch: Sketch::from_hashes(hashes)?,
            tunable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_survives_its_bytes() {
        let long = (0..300).map(|i| i.to_string()).collect::<Vec<_>>().join(" ");
        let marked = "let block = 32; // @tune 32 [8..256] log\nlet rate = 0.5; // @tune 0.5 [0..1]\n";
        for source in ["", "a b", long.as_str(), marked] {
            let fingerprint = Fingerprint::of(source, Language::Rust);
            assert_eq!(Fingerprint::from_bytes(&fingerprint.to_bytes()), Some(fingerprint), "{source}");
        }
        assert!(Fingerprint::of(marked, Language::Rust).tunable.is_some());
    }

    #[test]
    fn other_bytes_are_no_fingerprint() {
        let good = Fingerprint::of("let x = 32; // @tune 32 [8..256]", Language::Rust).to_bytes();
        for length in 0..good.len() {
            let read = Fingerprint::from_bytes(&good[..length]);
            assert!(read.is_none_or(|read| read.tunable.is_none()), "{length} bytes");
        }
        assert_eq!(Fingerprint::from_bytes(&[9; 40]), None);
        let mut long = good;
        long.push(0);
        assert_eq!(Fingerprint::from_bytes(&long), None);
    }
}
