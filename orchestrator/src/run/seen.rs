//! Which code was proposed before, by token hash.

use std::sync::{Arc, PoisonError, RwLock};

use search::{CodeHash, CodeIndex, Language, ProgramId, token_hash};

use crate::proposer::Seen;

/// Code hashes of admitted programs, shared with the proposers at work.
#[derive(Debug, Default, Clone)]
pub(super) struct SeenCodes(Arc<RwLock<CodeIndex>>);

impl SeenCodes {
    /// Registers a program at its admission; returns the earlier program with the same code, if any.
    pub(super) fn register(&self, hash: CodeHash, number: u64) -> Option<ProgramId> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).register(hash, ProgramId(number))
    }

    /// What a proposer may know: the code of programs numbered below `told`. Those admitted since then are left out, so
    /// that what is proposed doesn't depend on how far other evaluations have come.
    pub(super) fn as_of(&self, told: u64, language: Language) -> Seen {
        let codes = self.0.clone();
        Seen::new(move |source| {
            let codes = codes.read().unwrap_or_else(PoisonError::into_inner);
            codes.find_before(token_hash(source, language), ProgramId(told)).is_some()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposer_sees_only_what_had_been_told_when_it_was_asked() {
        let seen = SeenCodes::default();
        let hash = |source| token_hash(source, Language::Rust);
        assert_eq!(seen.register(hash("fn a() {}"), 0), None);
        assert_eq!(seen.register(hash("fn b() {}"), 5), None);
        assert_eq!(seen.register(hash("fn  b( ) {}"), 6), Some(ProgramId(5)));
        let early = seen.as_of(5, Language::Rust);
        assert!(early.contains("fn a() { }"));
        assert!(!early.contains("fn b() {}"));
        assert!(seen.as_of(6, Language::Rust).contains("fn b() {}"));
    }
}
