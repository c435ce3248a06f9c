//! What a comparison with given values found.

/// One kind of value.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) checked: usize,
    /// Largest deviation.
    pub(crate) worst: f64,
    /// One line each: which case, what was expected, what came out.
    pub(crate) failures: Vec<String>,
}

impl Group {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Within a relative tolerance above 1, an absolute one below.
    pub(crate) fn close(&mut self, case: &str, expected: f64, got: Option<f64>, tolerance: f64) {
        let scaled = tolerance * expected.abs().max(1.0);
        self.within(case, expected, got, scaled);
    }

    /// Within an absolute tolerance.
    pub(crate) fn within(&mut self, case: &str, expected: f64, got: Option<f64>, tolerance: f64) {
        self.checked += 1;
        let deviation = got.map_or(f64::INFINITY, |got| (got - expected).abs());
        self.worst = self.worst.max(deviation);
        if deviation.is_nan() || deviation > tolerance {
            let got = got.map_or_else(|| "nothing".to_owned(), |got| got.to_string());
            self.failures.push(format!("{case}: expected {expected}, got {got}"));
        }
    }

    /// Exactly the same.
    pub(crate) fn same<T: PartialEq + std::fmt::Debug>(&mut self, case: &str, expected: T, got: T) {
        self.checked += 1;
        if expected != got {
            self.worst = f64::INFINITY;
            self.failures.push(format!("{case}: expected {expected:?}, got {got:?}"));
        }
    }

    /// From `low` to `high`.
    pub(crate) fn between(&mut self, case: &str, (low, high): (f64, f64), got: f64) {
        self.checked += 1;
        let deviation = (low - got).max(got - high).max(0.0);
        self.worst = self.worst.max(deviation);
        if deviation.is_nan() || deviation > 0.0 {
            self.failures.push(format!("{case}: expected from {low} to {high}, got {got}"));
        }
    }
}
