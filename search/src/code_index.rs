//! Which code was proposed already, and by which program first.

use std::collections::BTreeMap;

use crate::code_hash::CodeHash;
use crate::program::ProgramId;

/// Who had each code first. The run loop registers programs as it admits them, in order of number, so that the
/// answer to "is this a duplicate, and of which" doesn't depend on what happens to be evaluated already.
#[derive(Debug, Clone, Default)]
pub struct CodeIndex {
    first: BTreeMap<CodeHash, ProgramId>,
}

impl CodeIndex {
    /// An index of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that this program has this code, unless another one had it first: then that one is returned.
    /// Registering the same program again changes nothing and finds no duplicate.
    pub fn register(&mut self, hash: CodeHash, id: ProgramId) -> Option<ProgramId> {
        let first = *self.first.entry(hash).or_insert(id);
        (first != id).then_some(first)
    }

    /// The program that had this code first.
    pub fn find(&self, hash: CodeHash) -> Option<ProgramId> {
        self.first.get(&hash).copied()
    }

    /// The program that had this code first, if its number is below `limit`. A proposer that asks this with the
    /// count of outcomes told when its number was asked for gets the same answer whenever it asks.
    pub fn find_before(&self, hash: CodeHash, limit: ProgramId) -> Option<ProgramId> {
        self.find(hash).filter(|id| *id < limit)
    }

    /// Codes registered.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether nothing is registered.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code_hash::token_hash;
    use crate::program::Language;

    #[test]
    fn the_first_program_with_a_code_keeps_it() {
        let (one, other) = (token_hash("fn a() {}", Language::Rust), token_hash("fn b() {}", Language::Rust));
        let mut index = CodeIndex::new();
        assert_eq!(index.register(one, ProgramId(0)), None);
        assert_eq!(index.register(one, ProgramId(0)), None, "the same program is not its own duplicate");
        assert_eq!(index.register(other, ProgramId(1)), None);
        assert_eq!(index.register(one, ProgramId(2)), Some(ProgramId(0)));
        assert_eq!(index.find(other), Some(ProgramId(1)));
        assert_eq!(index.find_before(other, ProgramId(1)), None, "not yet told then");
        assert_eq!(index.find_before(other, ProgramId(2)), Some(ProgramId(1)));
        assert_eq!(index.len(), 2);
    }
}
