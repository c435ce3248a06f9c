//! Feature descriptors: the coordinates that choose a program's cell in the MAP-Elites grid.
//!
//! Bins divide the range of values seen so far. When a value falls outside, the range grows and every program is put
//! into its cell anew. The range grows by a tenth more than needed, so that a feature which creeps upwards causes
//! re-binning a logarithmic number of times and not with every program.

use crate::config::SearchConfig;
use crate::entry::Entry;
use crate::outcome::Measured;
use crate::sketch::Sketch;

/// What a coordinate measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dimension {
    /// Length of the program in tokens.
    Complexity,
    /// Mean distance from the programs measured first, 0 to 1.
    Diversity,
    /// The score.
    Score,
    /// A metric that the evaluator returns.
    Metric(String),
}

impl Dimension {
    /// The dimension of this name in a configuration.
    pub(crate) fn from_name(name: &str) -> Self {
        match name {
            "complexity" => Self::Complexity,
            "diversity" => Self::Diversity,
            "score" => Self::Score,
            metric => Self::Metric(metric.to_owned()),
        }
    }
}

/// A cell's number in the grid; the same on all islands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Cell(u32);

#[derive(Debug, Clone)]
struct Axis {
    dimension: Dimension,
    bins: usize,
    range: Option<Range>,
}

/// The values that an axis divides into bins.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// Share of the range by which it grows beyond a value that fell outside.
    const MARGIN: f64 = 0.1;

    /// The bin of a value in this range.
    fn bin(self, value: f64, bins: usize) -> usize {
        // Halves, because the width of a range of finite numbers may be infinite.
        let width = self.high / 2.0 - self.low / 2.0;
        if width > 0.0 {
            let share = (value / 2.0 - self.low / 2.0) / width;
            ((share * bins as f64) as usize).min(bins - 1)
        } else {
            0
        }
    }

    /// The range with room for `value`; none if it has that already.
    fn grown_to(self, value: f64) -> Option<Self> {
        let Self { low, high } = self;
        // Halves here too.
        let margin = |low: f64, high: f64| (high / 2.0 - low / 2.0) * (2.0 * Self::MARGIN);
        if value > high {
            Some(Self { low, high: (value + margin(low, value)).min(f64::MAX) })
        } else if value < low {
            Some(Self { low: (value - margin(value, high)).max(f64::MIN), high })
        } else {
            None
        }
    }
}

/// The axes of the grid, with the ranges seen so far.
#[derive(Debug, Clone)]
pub(crate) struct Axes(Vec<Axis>);

impl Axes {
    pub(crate) fn new(config: &SearchConfig) -> Self {
        Self(config.axes().map(|(dimension, bins)| Axis { dimension, bins, range: None }).collect())
    }

    /// Where diversity stands among the features, if it does.
    pub(crate) fn diversity(&self) -> Option<usize> {
        self.0.iter().position(|axis| axis.dimension == Dimension::Diversity)
    }

    /// A program's features. `diversity` is only called if it is one of them.
    pub(crate) fn features(
        &self,
        measured: &Measured,
        tokens: u32,
        diversity: impl Fn() -> f64,
    ) -> Box<[Option<f64>]> {
        let value = |axis: &Axis| match &axis.dimension {
            Dimension::Complexity => Some(f64::from(tokens)),
            Dimension::Diversity => Some(diversity()),
            Dimension::Score => Some(measured.score.get()),
            // The type doesn't keep NaN out of the metrics; here it means "not measured".
            Dimension::Metric(name) => measured.metrics.get(name).copied().filter(|value| value.is_finite()),
        };
        self.0.iter().map(value).collect()
    }

    /// Where the score stands among the features, if it does.
    pub(crate) fn score(&self) -> Option<usize> {
        self.0.iter().position(|axis| axis.dimension == Dimension::Score)
    }

    /// Makes room for these features. Whether cells have changed by that.
    pub(crate) fn include(&mut self, features: &[Option<f64>]) -> bool {
        let mut changed = false;
        for (axis, value) in self.0.iter_mut().zip(features) {
            let Some(value) = *value else { continue };
            match axis.range {
                None => axis.range = Some(Range { low: value, high: value }),
                Some(range) => {
                    if let Some(grown) = range.grown_to(value) {
                        axis.range = Some(grown);
                        changed = true;
                    }
                }
            }
        }
        changed
    }

    /// Forgets the ranges and takes those of these programs.
    pub(crate) fn restart<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) {
        for axis in &mut self.0 {
            axis.range = None;
        }
        for entry in entries {
            self.include(&entry.features);
        }
    }

    /// The cell of these features. Programs without a value lie in a bin of their own beside the others.
    pub(crate) fn cell(&self, features: &[Option<f64>]) -> Cell {
        Cell(self.0.iter().zip(features).fold(0, |cell, (axis, value)| {
            let bin = match (axis.range, value) {
                (Some(range), Some(value)) => range.bin(*value, axis.bins),
                _ => axis.bins,
            };
            cell * (axis.bins as u32 + 1) + bin as u32
        }))
    }

    /// A cell's bin along each axis; none where its programs have no value.
    pub(crate) fn bins(&self, cell: Cell) -> Vec<Option<usize>> {
        let mut rest = cell.0 as usize;
        let mut bins: Vec<_> = self
            .0
            .iter()
            .rev()
            .map(|axis| {
                let bin = rest % (axis.bins + 1);
                rest /= axis.bins + 1;
                (bin < axis.bins).then_some(bin)
            })
            .collect();
        bins.reverse();
        bins
    }
}

/// Mean distance of a program from others; 0 if there are none.
pub(crate) fn diversity<'a>(sketch: &Sketch, references: impl Iterator<Item = &'a Sketch>) -> f64 {
    let (sum, count) =
        references.fold((0.0, 0_u32), |(sum, count), other| (sum + sketch.distance(other), count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // exact where it says so
mod tests {
    use super::*;

    fn axes(yaml: &str) -> Axes {
        let config: SearchConfig = serde_yaml::from_str(yaml).unwrap();
        config.check().unwrap();
        Axes::new(&config)
    }

    #[test]
    fn bins_divide_the_range_evenly_and_its_ends_belong_to_it() {
        let range = Range { low: 0.0, high: 10.0 };
        let bins: Vec<_> = [0.0, 1.9, 2.0, 5.0, 9.9, 10.0].map(|value| range.bin(value, 5)).into();
        assert_eq!(bins, [0, 0, 1, 2, 4, 4]);
    }

    #[test]
    fn one_value_alone_lies_in_the_first_bin() {
        assert_eq!(Range { low: 3.0, high: 3.0 }.bin(3.0, 5), 0);
    }

    #[test]
    fn the_largest_numbers_have_bins() {
        for largest in [1e308, 1.7e308] {
            let range = Range { low: -largest, high: -largest }.grown_to(largest).unwrap();
            assert_eq!(range.bin(-largest, 4), 0);
            assert_eq!(range.bin(0.0, 4), 1);
            assert_eq!(range.bin(largest, 4), 3);
            assert!(range.high.is_finite());
        }
    }

    #[test]
    fn a_creeping_feature_changes_the_bins_seldom() {
        let mut axes = axes("feature_dimensions: [speed]");
        let changes = (0..100_000).filter(|i| axes.include(&[Some(f64::from(*i))])).count();
        assert!(changes < 150, "{changes} changes");
    }

    #[test]
    fn a_cell_and_its_bins_say_the_same() {
        let mut axes = axes("feature_dimensions: [a, b, c]\nfeature_bins: { a: 3, b: 4, c: 5 }");
        axes.include(&[Some(0.0), Some(0.0), Some(0.0)]);
        axes.include(&[Some(1.0), Some(1.0), Some(1.0)]);
        for features in [[Some(0.0), Some(0.5), Some(1.0)], [Some(0.9), None, Some(0.0)], [None, None, None]]
        {
            let bins = axes.bins(axes.cell(&features));
            for ((value, bin), axis) in features.iter().zip(bins).zip(&axes.0) {
                assert_eq!(bin, value.map(|value| axis.range.unwrap().bin(value, axis.bins)));
            }
        }
    }
}
