//! Numbers in a program that are tuned between the model's calls: marked literals, and values to try for them.
//!
//! A mark is a comment on the literal's line or the one before it: `// @tune 32 [8..256] log`. Values are suggested by a
//! tree-structured Parzen estimator for each number (Bergstra et al., "Algorithms for Hyper-Parameter Optimization",
//! NIPS 2011; the crate `tpe`) from the scores told of programs that differ in nothing but their marked numbers.

mod marks;

use std::collections::BTreeMap;

use rand::{Rng, RngExt};
use serde::Deserialize;

pub use self::marks::{mark, substitute, values};
use crate::code_hash::token_hash;
use crate::outcome::Score;
use crate::program::Language;

/// The operator of a proposal that only changes marked numbers.
pub const TUNE: &str = "tune";

/// The operator of a proposal that changes one number without a mark, and marks it.
pub const PROBE: &str = "probe";

/// Most numbers tuned in one program; those after it are left as they are.
const MOST: usize = 32;

/// Draws until values come out that weren't told yet.
const DRAWS: usize = 32;

/// The best share of what was told, from which the estimator draws. The crate's default of a tenth is one value of ten.
const GOOD_SHARE: f64 = 0.2;

/// The `tune` section.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tune {
    /// Share of proposals that tune marked numbers, as long as there are programs with marks. 0: none.
    pub share: f64,
    /// Values of one program drawn at random before the estimator takes over, for each of its numbers.
    pub warm_up: usize,
    /// Probe numbers without marks of an island's best program, in a part of the share. One that changes the score is then
    /// tuned like a marked one.
    pub find: bool,
}

impl Default for Tune {
    fn default() -> Self {
        Self { share: 0.2, warm_up: 3, find: false }
    }
}

/// A number that may change, and between what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knob {
    /// Its value in this program.
    pub value: f64,
    /// Least value.
    pub low: f64,
    /// Greatest value.
    pub high: f64,
    /// Even steps in the logarithm rather than the number.
    pub log: bool,
    /// Whole numbers only.
    pub integer: bool,
}

impl Knob {
    /// The scale on which values are drawn.
    fn scale(&self, value: f64) -> f64 {
        if self.log { value.ln() } else { value }
    }

    /// The ends on that scale. Whole numbers get half a step more on both sides, so that the ends are drawn as often as
    /// the rest.
    fn ends(&self) -> (f64, f64) {
        let half = if self.integer { 0.5 } else { 0.0 };
        let low = if self.log { (self.low - half).max(self.low / 2.0) } else { self.low - half };
        (self.scale(low), self.scale(self.high + half))
    }

    fn unscale(&self, scaled: f64) -> f64 {
        let value = if self.log { scaled.exp() } else { scaled };
        let value = if self.integer { value.round() } else { shortened(value) };
        value.clamp(self.low, self.high)
    }
}

/// Five significant digits: what is written into the program is what is told of it.
fn shortened(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

/// The marked numbers of a program, and the name of all that is the same without them.
#[derive(Debug, Clone, PartialEq)]
pub struct Tunable {
    pub(crate) template: u64,
    pub(crate) knobs: Box<[Knob]>,
}

impl Tunable {
    /// The numbers, in the order of the source.
    pub fn knobs(&self) -> &[Knob] {
        &self.knobs
    }

    fn values(&self) -> Vec<f64> {
        self.knobs.iter().map(|knob| knob.value).collect()
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.template.to_le_bytes());
        for knob in &self.knobs {
            for number in [knob.value, knob.low, knob.high] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.push(u8::from(knob.log) | u8::from(knob.integer) << 1);
        }
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (template, rest) = bytes.split_first_chunk()?;
        let chunks = rest.chunks_exact(25);
        if rest.is_empty() || !chunks.remainder().is_empty() {
            return None;
        }
        let number = |chunk: &[u8], at: usize| Some(f64::from_le_bytes(*chunk.get(at..)?.first_chunk()?));
        let knobs = chunks.map(|chunk| {
            let knob = Knob {
                value: number(chunk, 0)?,
                low: number(chunk, 8)?,
                high: number(chunk, 16)?,
                log: chunk[24] & 1 > 0,
                integer: chunk[24] & 2 > 0,
            };
            marks::is_sound(&knob).then_some(knob)
        });
        Some(Self { template: u64::from_le_bytes(*template), knobs: knobs.collect::<Option<_>>()? })
    }
}

/// The marked numbers of a source text; none if there are none.
pub(crate) fn tunable(source: &str, language: Language) -> Option<Tunable> {
    let marks = marks::find(source);
    if marks.is_empty() {
        return None;
    }
    let blank = marks::replace(source, &marks, |_| "0".to_owned());
    let hash = token_hash(&blank, language).to_bytes();
    // Half of it is long enough to tell a run's programs apart.
    let first = hash.first_chunk().map_or(0, |half| u64::from_le_bytes(*half));
    Some(Tunable { template: first, knobs: marks.iter().map(|mark| mark.knob).collect() })
}

/// What was told of programs that differ in marked numbers only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tunings(BTreeMap<u64, Vec<Tried>>);

/// Values of a program's marked numbers, and the score if it was measured.
type Tried = (Vec<f64>, Option<Score>);

impl Tunings {
    /// Whether no program with marked numbers was told.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes how a program with marked numbers ended; without a score if it wasn't measured.
    pub(crate) fn note(&mut self, tunable: &Tunable, score: Option<Score>) {
        self.0.entry(tunable.template).or_default().push((tunable.values(), score));
    }

    /// Values to try for a program's marked numbers; none if all draws gave values that were told already.
    pub(crate) fn suggest(&self, tunable: &Tunable, warm_up: usize, rng: &mut impl Rng) -> Option<Vec<f64>> {
        let told = self.0.get(&tunable.template).map_or(&[][..], Vec::as_slice);
        let mut columns: Vec<Column> =
            tunable.knobs.iter().enumerate().map(|(index, knob)| Column::new(*knob, index, told)).collect();
        let random = told.len() < warm_up * tunable.knobs.len();
        for _ in 0..DRAWS {
            let values: Vec<f64> = columns.iter_mut().map(|column| column.draw(random, rng)).collect();
            if values != tunable.values() && !told.iter().any(|(known, _)| *known == values) {
                return Some(values);
            }
        }
        None
    }
}

/// One number with what was told of its values.
struct Column {
    knob: Knob,
    /// None if the range is too narrow or wide for the estimator.
    optimizer: Option<tpe::TpeOptimizer>,
}

impl Column {
    fn new(knob: Knob, index: usize, told: &[Tried]) -> Self {
        let (low, high) = knob.ends();
        let mut builder = tpe::TpeOptimizerBuilder::new();
        builder.gamma(GOOD_SHARE);
        let mut optimizer =
            tpe::range(low, high).ok().and_then(|range| builder.build(tpe::parzen_estimator(), range).ok());
        if let Some(optimizer) = &mut optimizer {
            for (values, score) in told {
                // It minimises; what failed is worse than anything measured.
                let loss = score.map_or(f64::INFINITY, |score| -score.get());
                if let Some(value) = values.get(index) {
                    // The range has no upper end of its own. A value outside (its mark was moved) says nothing here.
                    let _ = optimizer.tell(knob.scale(*value).min(high.next_down()), loss);
                }
            }
        }
        Self { knob, optimizer }
    }

    fn draw(&mut self, random: bool, rng: &mut impl Rng) -> f64 {
        let (low, high) = self.knob.ends();
        let drawn = match &mut self.optimizer {
            Some(optimizer) if !random => optimizer.ask(rng).ok(),
            _ => None,
        };
        self.knob.unscale(drawn.unwrap_or_else(|| low + rng.random::<f64>() * (high - low)))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn of(source: &str) -> Tunable {
        tunable(source, Language::Rust).unwrap()
    }

    #[test]
    fn programs_that_differ_in_marked_numbers_share_a_template() {
        let one = of("let a = 8; // @tune 8 [1..64]\nlet b = 1;");
        let other = of("let a = 9;   // @tune 9 [1..64]\nlet b = 1;");
        let stranger = of("let a = 8; // @tune 8 [1..64]\nlet b = 2;");
        assert_eq!(one.template, other.template);
        assert_ne!(one.template, stranger.template);
    }

    #[test]
    fn suggestions_are_new_within_range_and_whole_where_they_must_be() {
        let tunable = of("let a = 8; // @tune 8 [1..64] log\nlet b = 0.5; // @tune 0.5 [0..1]");
        let mut tunings = Tunings::default();
        tunings.note(&tunable, Score::new(1.0).ok());
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..40 {
            let values = tunings.suggest(&tunable, 3, &mut rng).unwrap();
            assert!((1.0..=64.0).contains(&values[0]) && values[0].fract() == 0.0, "{values:?}");
            assert!((0.0..=1.0).contains(&values[1]), "{values:?}");
            let mut tried = tunable.clone();
            for (knob, value) in tried.knobs.iter_mut().zip(&values) {
                knob.value = *value;
            }
            tunings.note(&tried, (values[1] > 0.1).then(|| Score::new(values[1]).unwrap()));
        }
    }

    #[test]
    fn tuning_finds_a_good_value_in_few_tries() {
        // The best is at 90 of 8 to 256: a random draw of 25 is within a tenth of it in about half of all cases.
        let mut hits = 0;
        for seed in 0..20 {
            let mut tunable = of("let a = 32; // @tune 32 [8..4096] log");
            let mut tunings = Tunings::default();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            for _ in 0..25 {
                tunings.note(&tunable, Score::new(-(tunable.knobs[0].value / 90.0).ln().abs()).ok());
                tunable.knobs[0].value = tunings.suggest(&tunable, 3, &mut rng).unwrap()[0];
            }
            let best = tunings.0[&tunable.template].iter().filter_map(|(_, score)| *score).max().unwrap();
            hits += u32::from(best.get() > -0.1);
        }
        assert!(hits >= 16, "{hits} of 20");
    }

    #[test]
    fn a_range_with_nothing_new_in_it_suggests_nothing() {
        let tunable = of("let a = 1; // @tune 1 [1..2]");
        let mut tunings = Tunings::default();
        tunings.note(&tunable, None);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(tunings.suggest(&tunable, 3, &mut rng), Some(vec![2.0]));
        let other = of("let a = 2; // @tune 2 [1..2]");
        tunings.note(&other, None);
        assert_eq!(tunings.suggest(&tunable, 3, &mut rng), None);
    }
}
