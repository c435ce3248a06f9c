//! Whether a program is too much like one that was proposed before.

use serde::Deserialize;

use crate::fingerprint::Fingerprint;
use crate::program::ProgramId;

/// The `novelty` section. Exact duplicates (same tokens) are never evaluated, whatever stands here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Novelty {
    /// A program that shares more than this part of its shingles (runs of four tokens) with an earlier one is not
    /// evaluated. 1: all are. An estimate, with a standard error of up to 0.06.
    pub max_similarity: f64,
    /// How often a model is asked again, with the reason, when its proposal is a duplicate or too similar.
    pub retries: u32,
}

impl Default for Novelty {
    fn default() -> Self {
        Self { max_similarity: 1.0, retries: 1 }
    }
}

/// The program most like another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// Which.
    pub id: ProgramId,
    /// How much, 1 being the same.
    pub similarity: f64,
}

/// Something by which programs are compared: sketches here, embeddings where there is a model for them.
pub trait NoveltyIndex {
    /// What stands for a program.
    type Key: ?Sized;

    /// Takes a program in. Numbers must ascend.
    fn insert(&mut self, id: ProgramId, key: &Self::Key);

    /// The most similar program numbered below `limit`; of equal ones the first. Asking with the count of
    /// outcomes told when a number was asked for gives the same answer whenever it is asked.
    fn nearest_before(&self, key: &Self::Key, limit: ProgramId) -> Option<Nearest>;
}

/// Compares by shingles. It looks at every program: about 0.1 µs each, which is nothing beside an evaluation.
/// (An inverted index helps little here, because all programs of a run share most of their code.)
#[derive(Debug, Clone, Default)]
pub struct SketchIndex(Vec<(ProgramId, Fingerprint)>);

impl NoveltyIndex for SketchIndex {
    type Key = Fingerprint;

    fn insert(&mut self, id: ProgramId, key: &Fingerprint) {
        self.0.push((id, key.clone()));
    }

    fn nearest_before(&self, key: &Fingerprint, limit: ProgramId) -> Option<Nearest> {
        nearest(self.0.iter().map(|(id, other)| (*id, key.similarity(other))), limit)
    }
}

/// Compares by the cosine of embeddings that somebody else computes.
#[derive(Debug, Clone, Default)]
pub struct EmbeddingIndex(Vec<(ProgramId, Box<[f32]>)>);

impl NoveltyIndex for EmbeddingIndex {
    type Key = [f32];

    fn insert(&mut self, id: ProgramId, key: &[f32]) {
        self.0.push((id, key.into()));
    }

    fn nearest_before(&self, key: &[f32], limit: ProgramId) -> Option<Nearest> {
        nearest(self.0.iter().map(|(id, other)| (*id, cosine(key, other))), limit)
    }
}

fn nearest(all: impl Iterator<Item = (ProgramId, f64)>, limit: ProgramId) -> Option<Nearest> {
    let before = all.take_while(|(id, _)| *id < limit);
    before.fold(None, |best: Option<Nearest>, (id, similarity)| match best {
        Some(best) if best.similarity >= similarity => Some(best),
        _ => Some(Nearest { id, similarity }),
    })
}

/// 0 where a vector has no length or isn't finite.
fn cosine(one: &[f32], two: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosine = dot(one, two) / (dot(one, one) * dot(two, two)).sqrt();
    if one.len() == two.len() && cosine.is_finite() { cosine } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Language;

    #[test]
    fn the_nearest_program_is_found_among_those_that_may_be_known() {
        let of = |source: &str| Fingerprint::of(source, Language::Rust);
        let mut index = SketchIndex::default();
        index.insert(ProgramId(0), &of("a b c d e f g h"));
        index.insert(ProgramId(3), &of("a b c d e f g i"));
        let nearest = |limit| index.nearest_before(&of("a b c d e f g i"), ProgramId(limit));
        assert_eq!(nearest(0), None);
        assert_eq!(nearest(3).unwrap().id, ProgramId(0));
        assert_eq!(nearest(4), Some(Nearest { id: ProgramId(3), similarity: 1.0 }));
    }

    #[test]
    fn embeddings_are_compared_by_their_direction() {
        let mut index = EmbeddingIndex::default();
        index.insert(ProgramId(0), &[1.0, 0.0]);
        index.insert(ProgramId(1), &[0.0, 2.0]);
        index.insert(ProgramId(2), &[0.0, 0.0]);
        let found = index.nearest_before(&[0.1, 1.0], ProgramId(9)).unwrap();
        assert_eq!(found.id, ProgramId(1));
        assert!(found.similarity > 0.99 && found.similarity <= 1.0);
    }
}
