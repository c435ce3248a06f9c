//! From values to places.

/// From values to places, with round ticks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) step: f64,
    pub(super) left: f64,
    pub(super) right: f64,
}

impl Scale {
    /// Over a range, widened to round numbers; `least` is the width that it has at least. It goes from `left` to `right`.
    pub(super) fn over((low, high): (f64, f64), least: f64, (left, right): (f64, f64)) -> Self {
        let lacking = (least - (high - low)).max(0.0) / 2.0;
        let (low, high) = (low - lacking, high + lacking);
        let width = (high - low).max(least);
        let rough = width / 6.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|round| round * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let low = (low / step).floor() * step;
        let high = ((high / step).ceil() * step).max(low + step);
        Self { low, high, step, left, right }
    }

    /// Over exactly this range.
    pub(super) fn exact((low, high): (f64, f64), least: f64, ends: (f64, f64)) -> Self {
        let round = Self::over((low, high), least, ends);
        Self { low, high: high.max(low + least), ..round }
    }

    pub(super) fn x(&self, value: f64) -> f64 {
        self.left + (value - self.low) / (self.high - self.low) * (self.right - self.left)
    }

    /// The place of the value, or the end beyond which it lies.
    pub(super) fn within(&self, value: f64) -> f64 {
        self.x(value.clamp(self.low, self.high))
    }

    /// Round values in the range.
    pub(super) fn ticks(&self) -> impl Iterator<Item = f64> {
        let (high, step) = (self.high, self.step);
        let first = (self.low / step).ceil() * step;
        let ticks = ((high - first) / step + 1e-9).floor().max(0.0) as u32;
        (0..=ticks).map(move |index| first + f64::from(index) * step)
    }

    /// A share in percent.
    pub(super) fn percent(&self, tick: f64) -> String {
        let digits = usize::from(self.step < 0.01) + usize::from(self.step < 0.001);
        let percent = (tick * 1e4).round() / 100.0 + 0.0;
        if percent == 0.0 { "0 %".to_owned() } else { format!("{percent:+.digits$} %") }
    }

    /// A plain number.
    pub(super) fn plain(&self, tick: f64) -> String {
        let digits = (-self.step.log10().floor()).clamp(0.0, 6.0) as usize;
        format!("{:.digits$}", tick + 0.0)
    }
}

/// Least and greatest of what is finite; none of nothing.
pub(super) fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_one_value_has_ticks_around_it() {
        let scale = Scale::over((1.0, 1.0), 0.01, (0.0, 100.0));
        assert!(scale.high > scale.low && scale.x(1.0).is_finite());
        assert!(scale.ticks().count() > 2);
    }

    #[test]
    fn ticks_of_an_exact_range_lie_in_it() {
        let scale = Scale::exact((0.37, 9.1), 1.0, (0.0, 100.0));
        assert_eq!(scale.ticks().collect::<Vec<_>>(), [2.0, 4.0, 6.0, 8.0]);
    }
}
