//! What trials of one and the same program say about the machine: its noise, its drift, and what can be found on it.

use serde::{Deserialize, Serialize};

use crate::problem::ProtocolSettings;
use crate::statistics::{Comparison, TTest, compare, mean, robust_deviation, standard_deviation};

/// Of one metric, from A/A trials in the order of running, on natural logarithms: 0.01 is 1 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Trials.
    pub n: u32,
    /// Standard deviation of one trial, robust against drift and outliers: what `race-confirm` uses.
    pub sigma: f64,
    /// The usual standard deviation, which counts drift and outliers in.
    pub classical_sigma: f64,
    /// Change per trial, by least squares.
    pub slope: f64,
    /// Two-sided p-value of the slope, by its t-test; absent without noise. Too small if trials depend on each other.
    pub slope_p_value: Option<f64>,
    /// Correlation of successive trials: near 1 on a machine with slow ups and downs; absent without noise.
    pub autocorrelation: Option<f64>,
    /// p-value of Welch's test between the first and the second half: what a protocol of two blocks would see in identical code.
    pub halves_p_value: Option<f64>,
}

/// How many trials a decision may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// Two blocks of so many trials, Welch p < 0.05.
    Blocks(u32),
    /// A screening and at most so many pairs, at the level of the run's first claim.
    Pairs(u32),
}

impl Budget {
    /// What a problem's settings allow.
    pub fn of(settings: &ProtocolSettings) -> Self {
        match settings {
            ProtocolSettings::RaceConfirm(race) => Self::Pairs(race.max_pairs),
            ProtocolSettings::Fixed(fixed) => Self::Blocks(fixed.trials),
            ProtocolSettings::FixedSeed7(seed7) => Self::Blocks(seed7.trials),
        }
    }
}

/// `None` below four trials, or if a value isn't finite.
pub fn calibrate(logs: &[f64]) -> Option<Calibration> {
    if logs.len() < 4 || logs.iter().any(|log| !log.is_finite()) {
        return None;
    }
    let center = mean(logs)?;
    let steps: Vec<f64> = logs.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    let classical_sigma = standard_deviation(logs)?;
    let squares: f64 = logs.iter().map(|log| (log - center).powi(2)).sum();
    let products: f64 = logs.windows(2).map(|pair| (pair[0] - center) * (pair[1] - center)).sum();
    let (slope, slope_p_value) = slope(logs, center)?;
    let (first, second) = logs.split_at(logs.len() / 2);
    let halves_p_value = match compare(first, second, 0.95)? {
        Comparison::Tested(TTest { p_value, .. }) => Some(p_value),
        Comparison::Certain { .. } | Comparison::Identical => None,
    };
    Some(Calibration {
        n: logs.len() as u32,
        sigma: robust_deviation(&steps)?,
        classical_sigma,
        slope,
        slope_p_value,
        autocorrelation: (classical_sigma > 0.0).then(|| products / squares),
        halves_p_value,
    })
}

/// By least squares, with its p-value unless all lies on the line.
fn slope(logs: &[f64], center: f64) -> Option<(f64, Option<f64>)> {
    let n = logs.len() as f64;
    let middle = (n - 1.0) / 2.0;
    let positions = || (0..logs.len()).map(|index| index as f64 - middle);
    let spread: f64 = positions().map(|x| x * x).sum();
    let slope = positions().zip(logs).map(|(x, log)| x * (log - center)).sum::<f64>() / spread;
    let residual: f64 = positions().zip(logs).map(|(x, log)| (log - center - slope * x).powi(2)).sum();
    let error = (residual / (n - 2.0) / spread).sqrt();
    let p_value = if error > 0.0 { Some(TTest::new(slope, error, n - 2.0, 0.95)?.p_value) } else { None };
    Some((slope, p_value))
}

/// Power that a detectable effect is found with.
const POWER: f64 = 0.8;

/// (pairs at most, effect in standard deviations of a trial that the screening and these pairs find with power 0.8 at the level of
/// the first claim, α/21, in one of two metrics). Simulated with independent normal noise: `cargo run --release -p evaluator --example
/// check-statistics -- power`.
const PAIRS: [(f64, f64); 7] =
    [(12.0, 3.67), (14.0, 2.55), (16.0, 2.25), (20.0, 2.01), (24.0, 1.89), (32.0, 1.76), (48.0, 1.72)];
/// Less noise than this isn't believed by `race-confirm`.
const NOISE_FLOOR: f64 = 0.002;

/// Smallest effect on the logarithm (0.01 is 1 %) that is found with power 0.8, given the noise of one trial. For blocks by the normal
/// approximation of the t-test's power; for pairs from a simulated table, but not below half of the smallest effect that matters, which
/// is where candidates are given up. `None` if the budget is too small for any.
pub fn detectable_effect(sigma: f64, budget: Budget, minimal_effect: f64) -> Option<f64> {
    match budget {
        Budget::Blocks(trials) if trials < 2 => None,
        Budget::Blocks(trials) => {
            let errors = TTest::quantile(0.975, 2.0 * f64::from(trials) - 2.0)?
                + TTest::quantile(POWER, 2.0 * f64::from(trials) - 2.0)?;
            Some(errors * sigma * (2.0 / f64::from(trials)).sqrt())
        }
        Budget::Pairs(pairs) => {
            let pairs = f64::from(pairs);
            let after = PAIRS.iter().position(|(most, _)| *most >= pairs);
            let deviations = match after {
                None => PAIRS[PAIRS.len() - 1].1,
                Some(0) if PAIRS[0].0 > pairs => return None,
                Some(0) => PAIRS[0].1,
                Some(index) => {
                    let ((low, more), (high, less)) = (PAIRS[index - 1], PAIRS[index]);
                    more + (less - more) * (pairs - low) / (high - low)
                }
            };
            Some((deviations * sigma.max(NOISE_FLOOR)).max(minimal_effect / 2.0))
        }
    }
}

impl Calibration {
    /// What to do, in one line.
    pub fn advice(&self, budget: Budget, minimal_effect: f64) -> String {
        let percent = |value: f64| format!("{:.1} %", value * 100.0);
        let found = detectable_effect(self.sigma, budget, minimal_effect)
            .map_or_else(|| "nothing".to_owned(), |effect| format!("effects from about {}", percent(effect)));
        let drifts = self.slope_p_value.is_some_and(|p| p < 0.01) && self.slope.abs() * 10.0 > 0.01;
        let wanders = self.autocorrelation.is_some_and(|rho| rho > 0.5);
        let advice = if drifts {
            "the machine drifts: let it warm up or cool, close other programs, and stay with race-confirm, whose pairs hold under drift"
        } else if wanders {
            "its speed comes in slow waves: stay with race-confirm; two blocks of trials would call identical code different"
        } else if self.classical_sigma > 2.0 * self.sigma {
            "some trials are far off: close other programs"
        } else if self.sigma > 0.04 {
            "it is noisy: close other programs, or make trials longer"
        } else {
            "it is quiet enough"
        };
        format!("noise {} a trial; finds {found} with 80 % probability; {advice}", percent(self.sigma))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_drift_is_seen_and_hardly_counts_as_noise() {
        let logs: Vec<f64> = (0..20).map(|i| 0.005 * f64::from(i) + 0.001 * f64::from(i % 3)).collect();
        let calibration = calibrate(&logs).unwrap();
        assert!((calibration.slope - 0.005).abs() < 1e-4 && calibration.slope_p_value.unwrap() < 1e-9);
        assert!(calibration.sigma < 0.3 * calibration.classical_sigma);
        assert!(calibration.autocorrelation.unwrap() > 0.7 && calibration.halves_p_value.unwrap() < 1e-6);
        assert!(calibration.advice(Budget::Pairs(24), 0.01).contains("drifts"));
    }

    #[test]
    fn a_noise_free_metric_has_neither_noise_nor_drift() {
        let calibration = calibrate(&[1.5; 8]).unwrap();
        assert!(calibration.sigma.abs() < 1e-15 && calibration.slope.abs() < 1e-15);
        assert_eq!((calibration.slope_p_value, calibration.autocorrelation), (None, None));
        assert!((detectable_effect(0.0, Budget::Pairs(24), 0.02).unwrap() - 0.01).abs() < 1e-12);
        assert_eq!(calibrate(&[1.0; 3]), None);
    }

    #[test]
    fn alternating_values_are_noise_without_drift() {
        let logs: Vec<f64> = (0..21).map(|i| if i % 2 == 0 { 0.01 } else { -0.01 }).collect();
        let calibration = calibrate(&logs).unwrap();
        assert!(calibration.slope.abs() < 1e-6 && calibration.slope_p_value.unwrap() > 0.5);
        assert!(calibration.autocorrelation.unwrap() < -0.9);
        assert!(calibration.advice(Budget::Pairs(24), 0.01).contains("quiet"));
    }

    #[test]
    fn more_trials_find_smaller_effects() {
        let find = |budget| detectable_effect(0.02, budget, 0.01).unwrap();
        assert!(find(Budget::Blocks(10)) < find(Budget::Blocks(5)));
        assert!(
            find(Budget::Pairs(24)) < find(Budget::Pairs(20))
                && find(Budget::Pairs(20)) < find(Budget::Pairs(12))
        );
        assert_eq!(
            (
                detectable_effect(0.02, Budget::Blocks(1), 0.01),
                detectable_effect(0.02, Budget::Pairs(8), 0.01)
            ),
            (None, None)
        );
    }
}
