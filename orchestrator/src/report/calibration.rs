//! `evolve calibrate`: how noisy this machine is, and what can be found on it.

use std::fmt::Write as _;

use serde::Serialize;

use super::numbers::{metric_name, p_value, percent, signed};

/// What A/A trials (the same program again and again) said.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Calibration {
    /// The problem's name.
    pub problem: String,
    /// The processor's or GPU's name.
    pub device: Option<String>,
    /// The protocol that the budget is of.
    pub protocol: String,
    /// What one candidate may cost, in words: `at most 3 + 2 × 24 trials`.
    pub budget: String,
    /// Trials of the baseline that succeeded.
    pub trials: u32,
    /// One per objective.
    pub metrics: Vec<Noise>,
    /// What makes measurements worse than they need to be: on battery, busy, throttled.
    pub warnings: Vec<String>,
    /// What to do, in one line.
    pub advice: String,
}

/// One metric's noise. Deviations and effects are shares: 0.01 is 1 %.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Noise {
    /// Its name.
    pub metric: String,
    /// Standard deviation of one trial.
    pub sigma: f64,
    /// Change per trial, positive is better.
    pub drift: f64,
    /// Two-sided p-value of the drift; absent without noise.
    pub drift_p: Option<f64>,
    /// Correlation of successive trials; absent without noise.
    pub autocorrelation: Option<f64>,
    /// Least true effect that is found four times in five within the budget; absent if none is.
    pub detectable: Option<f64>,
}

/// The machine's state before and after the trials, where the system tells.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ambient {
    /// Processes that want a core, averaged over a minute, per core, before the first trial.
    pub load_before: Option<f64>,
    /// Whether the machine runs on its battery.
    pub on_battery: Option<bool>,
    /// Clock in MHz: the highest of the first trials, and the lowest of the last ones.
    pub frequency: Option<(f64, f64)>,
    /// Degrees Celsius, the highest seen.
    pub temperature: Option<f64>,
}

/// Above this load others are at work (a trial keeps about one core per core busy only after it has begun).
const BUSY: f64 = 0.5;
/// Below this share of the first clock the processor is being slowed down.
const THROTTLED: f64 = 0.9;
/// At this temperature most processors are at their limit.
const HOT: f64 = 95.0;

/// What a person should change before measuring.
pub fn warnings(ambient: &Ambient) -> Vec<String> {
    let mut warnings = Vec::new();
    if ambient.on_battery == Some(true) {
        warnings.push("on battery: plug it in; most laptops slow down without".to_owned());
    }
    if let Some(load) = ambient.load_before.filter(|load| *load > BUSY) {
        warnings.push(format!("busy: load {load:.1} per core before the first trial; close other programs"));
    }
    if let Some((first, last)) = ambient.frequency.filter(|(first, last)| *last < THROTTLED * *first) {
        warnings.push(format!(
            "throttled: the clock fell from {first:.0} to {last:.0} MHz; let it cool, or limit its power"
        ));
    }
    if let Some(temperature) = ambient.temperature.filter(|temperature| *temperature >= HOT) {
        warnings.push(format!("hot: {temperature:.0} °C; expect it to slow down in long searches"));
    }
    warnings
}

impl Calibration {
    /// For people.
    pub fn text(&self) -> String {
        let on = self.device.as_deref().map(|device| format!(" on {device}")).unwrap_or_default();
        let mut text = format!(
            "{}: {} trials of the baseline against itself{on}\nprotocol {}, {} a candidate\n\n",
            self.problem, self.trials, self.protocol, self.budget
        );
        for noise in &self.metrics {
            let _ = writeln!(text, "{}", metric_name(&noise.metric));
            let _ = writeln!(
                text,
                "  noise               {} (standard deviation of one trial)",
                percent(noise.sigma)
            );
            let p = noise.drift_p.map(|p| format!(", {}", p_value(p))).unwrap_or_default();
            let seen = if noise.drift_p.is_some_and(|p| p < 0.05) { "it drifts" } else { "no drift seen" };
            let _ = writeln!(
                text,
                "  drift               {:+.2} % a trial{p}: {seen}",
                noise.drift * 100.0 + 0.0
            );
            if let Some(autocorrelation) = noise.autocorrelation {
                let word = if autocorrelation > 0.5 { "slow waves" } else { "no waves to speak of" };
                let _ = writeln!(
                    text,
                    "  autocorrelation     {autocorrelation:+.2} from one trial to the next: {word}"
                );
            }
            let found = noise.detectable.map_or_else(
                || "none: the budget is too small for any".to_owned(),
                |effect| format!("{} or more (found four times in five)", signed(effect)),
            );
            let _ = writeln!(text, "  detectable effect   {found}");
        }
        text.push('\n');
        for warning in &self.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
        let _ = writeln!(text, "advice: {}", self.advice);
        text
    }
}
