//! Which code was proposed before, by token hash and by likeness.

use std::sync::{Arc, PoisonError, RwLock};

use search::{CodeIndex, Fingerprint, Language, NoveltyIndex, Outcome, ProgramId, SketchIndex};

use crate::proposer::Seen;

/// The code of admitted programs, shared with the proposers at work.
#[derive(Debug, Clone)]
pub(super) struct SeenCodes {
    codes: Arc<RwLock<Codes>>,
    /// Programs more alike than this count as the same; 1: none do.
    max_similarity: f64,
}

#[derive(Debug, Default)]
struct Codes {
    exact: CodeIndex,
    near: SketchIndex,
}

impl SeenCodes {
    pub(super) fn new(max_similarity: f64) -> Self {
        Self { codes: Arc::default(), max_similarity }
    }

    /// Registers a program at its admission. Says why it isn't to be evaluated, if it isn't: the same code, or (where
    /// `may_be_near` doesn't allow it) nearly the same code was admitted before.
    pub(super) fn register(&self, code: &Fingerprint, number: u64, may_be_near: bool) -> Option<Outcome> {
        let mut codes = self.codes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(of) = codes.exact.register(code.hash, ProgramId(number)) {
            return Some(Outcome::Duplicate { of });
        }
        if self.max_similarity >= 1.0 {
            return None;
        }
        let refusal = if may_be_near { None } else { self.too_near(&codes, code, ProgramId(number)) };
        codes.near.insert(ProgramId(number), code);
        refusal
    }

    fn too_near(&self, codes: &Codes, code: &Fingerprint, limit: ProgramId) -> Option<Outcome> {
        let nearest = codes.near.nearest_before(code, limit)?;
        (nearest.similarity > self.max_similarity)
            .then_some(Outcome::NearDuplicate { of: nearest.id, similarity: nearest.similarity })
    }

    /// What a proposer may know: the code of programs numbered below `told`. Those admitted since then are left out, so
    /// that what is proposed doesn't depend on how far other evaluations have come.
    pub(super) fn as_of(&self, told: u64, language: Language) -> Seen {
        let seen = self.clone();
        Seen::refusing(move |source| {
            let code = Fingerprint::of(source, language);
            let codes = seen.codes.read().unwrap_or_else(PoisonError::into_inner);
            match codes.exact.find_before(code.hash, ProgramId(told)) {
                Some(of) => Some(Outcome::Duplicate { of }),
                None if seen.max_similarity < 1.0 => seen.too_near(&codes, &code, ProgramId(told)),
                None => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str) -> Fingerprint {
        Fingerprint::of(source, Language::Rust)
    }

    #[test]
    fn a_proposer_sees_only_what_had_been_told_when_it_was_asked() {
        let seen = SeenCodes::new(1.0);
        assert_eq!(seen.register(&code("fn a() {}"), 0, false), None);
        assert_eq!(seen.register(&code("fn b() {}"), 5, false), None);
        let same = Some(Outcome::Duplicate { of: ProgramId(5) });
        assert_eq!(seen.register(&code("fn  b( ) {}"), 6, false), same);
        let early = seen.as_of(5, Language::Rust);
        assert!(early.contains("fn a() { }"));
        assert!(!early.contains("fn b() {}"));
        assert!(seen.as_of(6, Language::Rust).contains("fn b() {}"));
    }

    #[test]
    fn what_is_nearly_the_same_is_refused_where_that_is_configured() {
        let text =
            |last: &str| ["f(0); f(1); f(2); f(3); f(4); f(5); f(6); f(7); f(8); f(9); ", last].concat();
        for (limit, refused) in [(1.0, false), (0.7, true)] {
            let seen = SeenCodes::new(limit);
            assert_eq!(seen.register(&code(&text("a();")), 0, false), None);
            let proposed = seen.as_of(1, Language::Rust).refusal(&text("b();"));
            let admitted = seen.register(&code(&text("b();")), 1, false);
            assert_eq!(proposed, admitted);
            assert_eq!(matches!(admitted, Some(Outcome::NearDuplicate { .. })), refused, "{admitted:?}");
            assert_eq!(
                seen.register(&code(&text("c();")), 2, true),
                None,
                "tuning may be as near as it likes"
            );
        }
    }
}
