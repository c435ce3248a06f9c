//! How alike two programs are, from a few hundred bytes of each.
//!
//! A program is the set of its shingles (runs of [`SHINGLE`] tokens). A sketch keeps the smallest hashes of the set:
//! a min-wise hash with one hash function (A. Broder, "On the resemblance and containment of documents", 1997), from which
//! the share of shingles that two programs have in common is estimated; exactly if both are short.

use crate::tokens::{END, Tokens};

/// Tokens in a shingle.
const SHINGLE: usize = 4;
/// Hashes kept. The standard error of a distance is at most 1 / (2 √SIZE), about 0.06.
const SIZE: usize = 64;

/// FNV-1a hashes tokens: stable over versions and machines, which the standard library's hashers don't promise.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// The [`SIZE`] smallest hashes of a program's shingles, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sketch(Box<[u32]>);

impl Sketch {
    pub(crate) fn of(tokens: &Tokens) -> Self {
        let mut smallest = Smallest::default();
        let mut window = [0_u64; SHINGLE];
        let mut filled = 0;
        let mut token = FNV_START;
        for &byte in tokens.as_bytes() {
            if byte != END {
                token = (token ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
                continue;
            }
            window = [window[1], window[2], window[3], token];
            token = FNV_START;
            filled += 1;
            if filled >= SHINGLE {
                smallest.offer(shingle_hash(window));
            }
        }
        if (1..SHINGLE).contains(&filled) {
            smallest.offer(shingle_hash(window));
        }
        Self(smallest.finish())
    }

    /// The hashes, ascending.
    pub(crate) fn hashes(&self) -> &[u32] {
        &self.0
    }

    /// A sketch of these hashes; none if they can't be one's.
    pub(crate) fn from_hashes(hashes: Vec<u32>) -> Option<Self> {
        let sound = hashes.len() <= SIZE && hashes.is_sorted_by(|one, two| one < two);
        sound.then(|| Self(hashes.into_boxed_slice()))
    }

    /// The Jaccard distance of the two programs' sets of shingles: 0 if they have the same, 1 if none in common.
    pub(crate) fn distance(&self, other: &Self) -> f64 {
        let (one, two) = (&self.0, &other.0);
        // Beyond this many, hashes of the union may be missing in a sketch that is full.
        let limit = if one.len().max(two.len()) < SIZE { 2 * SIZE } else { SIZE };
        let (mut i, mut j, mut both, mut union) = (0, 0, 0_usize, 0_usize);
        while i < one.len() && j < two.len() && union < limit {
            let (a, b) = (one[i], two[j]);
            i += usize::from(a <= b);
            j += usize::from(b <= a);
            both += usize::from(a == b);
            union += 1;
        }
        union = (union + (one.len() - i) + (two.len() - j)).min(limit);
        if union == 0 { 0.0 } else { 1.0 - both as f64 / union as f64 }
    }
}

/// Collects the smallest distinct values of a stream.
#[derive(Default)]
struct Smallest {
    values: Vec<u32>,
    /// The largest value kept, once enough are.
    ceiling: Option<u32>,
}

impl Smallest {
    fn offer(&mut self, value: u32) {
        if self.ceiling.is_some_and(|ceiling| value >= ceiling) {
            return;
        }
        self.values.push(value);
        if self.values.len() >= 4 * SIZE {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        self.values.sort_unstable();
        self.values.dedup();
        self.values.truncate(SIZE);
        if self.values.len() == SIZE {
            self.ceiling = self.values.last().copied();
        }
    }

    fn finish(mut self) -> Box<[u32]> {
        self.shrink();
        self.values.into_boxed_slice()
    }
}

fn shingle_hash(window: [u64; SHINGLE]) -> u32 {
    // Odd numbers without a pattern (digits of the golden ratio, e, pi and the square root of 2), so that the order
    // of the tokens counts.
    const WEIGHTS: [u64; SHINGLE] =
        [0x9e37_79b9_7f4a_7c15, 0xb7e1_5162_8aed_2a6b, 0x243f_6a88_85a3_08d3, 0x6a09_e667_f3bc_c909];
    let joined = window
        .iter()
        .zip(WEIGHTS)
        .fold(0_u64, |sum, (token, weight)| sum.wrapping_add(token.wrapping_mul(weight)));
    // The finalizer of MurmurHash3: every bit of the input moves every bit of the output.
    let mut mixed = joined ^ (joined >> 33);
    mixed = mixed.wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^= mixed >> 33;
    mixed = mixed.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (mixed >> 32) as u32
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // exact where it says so
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write;

    use super::*;
    use crate::program::Language;

    fn sketch(source: &str) -> Sketch {
        Sketch::of(&Tokens::of(source, Language::Rust))
    }

    /// `count` statements from `first` on: programs that share a known part.
    fn statements(first: usize, count: usize) -> String {
        (first..first + count).fold(String::new(), |mut text, i| {
            writeln!(text, "x{i} = a{i} * b{i};").unwrap();
            text
        })
    }

    #[test]
    fn a_program_has_no_distance_from_itself_and_all_of_it_from_a_stranger() {
        let (one, other) = (sketch(&statements(0, 100)), sketch(&statements(1000, 100)));
        assert_eq!(one.distance(&one), 0.0);
        assert!(one.distance(&other) > 0.95);
        assert_eq!(sketch("").distance(&sketch("")), 0.0);
        assert_eq!(sketch("").distance(&sketch("a")), 1.0);
        assert_eq!(sketch("a b").distance(&sketch("a  /* and */ b")), 0.0);
    }

    #[test]
    fn short_programs_are_compared_exactly() {
        // Shingles: {abcd, bcde} and {abcd, bcdf}: one in common of three.
        assert_eq!(sketch("a b c d e").distance(&sketch("a b c d f")), 1.0 - 1.0 / 3.0);
    }

    #[test]
    fn the_estimate_is_near_the_true_distance() {
        let shingles = |source: &str| {
            let tokens = Tokens::of(source, Language::Rust);
            let all: Vec<&[u8]> = tokens.iter().collect();
            all.windows(SHINGLE).map(<[&[u8]]>::concat).collect::<BTreeSet<_>>()
        };
        for shared in [10, 50, 90, 150, 190] {
            let (one, two) = (statements(0, 200), statements(200 - shared, 200));
            let (a, b) = (shingles(&one), shingles(&two));
            let truth = 1.0 - a.intersection(&b).count() as f64 / a.union(&b).count() as f64;
            let estimate = sketch(&one).distance(&sketch(&two));
            assert!((truth - estimate).abs() < 0.15, "shared {shared}: {truth} was estimated as {estimate}");
        }
    }

    #[test]
    fn a_distance_is_the_same_in_both_directions() {
        let (one, two) = (sketch(&statements(0, 30)), sketch(&statements(10, 300)));
        assert_eq!(one.distance(&two), two.distance(&one));
    }
}
