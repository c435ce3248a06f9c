//! The battery's noise models: what disturbs ln(tokens/s) from trial to trial.

use std::sync::Arc;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// An endless stream of one model.
#[derive(Clone)]
pub(crate) struct Noise {
    rng: ChaCha8Rng,
    model: Model,
    /// Where drift, memory, a two-state machine or a recording stands.
    state: f64,
    recording: Arc<[f64]>,
}

#[derive(Clone, Copy)]
enum Model {
    Normal(f64),
    Student3,
    Outliers,
    /// Chances to enter and to leave a state of this height, on 2 % noise.
    Telegraph(f64, f64, f64),
    /// Triangular drift of this slope a trial, half period 20 trials, on 2 % noise.
    Ramp(f64),
    /// Correlation and deviation.
    Ar1(f64, f64),
    /// What a real machine did, from a random place on, and again from the beginning.
    Recorded,
}

const HALF_PERIOD: f64 = 20.0;

fn model(name: &str) -> Option<Model> {
    let percent = |text: &str| text.parse::<f64>().ok().map(|percent| percent / 100.0);
    match name {
        "t3" => Some(Model::Student3),
        "lnout" => Some(Model::Outliers),
        "regime" => Some(Model::Telegraph(0.05, 0.30, -0.08)),
        _ => {
            if let Some(height) = name.strip_prefix("step").and_then(percent) {
                Some(Model::Telegraph(0.05, 0.05, -height))
            } else if let Some(height) = name.strip_prefix("ramp").and_then(percent) {
                Some(Model::Ramp(-height / 5.0))
            } else if let Some((rho, sd)) = name.strip_prefix("ar").and_then(|rest| rest.split_once('_')) {
                Some(Model::Ar1(percent(rho)?, percent(sd)?))
            } else {
                name.strip_prefix('n').and_then(percent).map(Model::Normal)
            }
        }
    }
}

fn recording(path: &str) -> Result<Arc<[f64]>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("`{path}` is neither a noise model nor a readable file: {error}"))?;
    let values: Result<Vec<f64>, _> = text.lines().map(str::parse).collect();
    let values = values.map_err(|error| format!("{path}: {error}"))?;
    if values.len() < 100 || values.iter().any(|value| !value.is_finite()) {
        return Err(format!("{path}: a hundred finite values or more are needed"));
    }
    Ok(values.into())
}

impl Noise {
    /// A model by its name, or by the path of a file with a machine's own ln(tokens/s) of successive trials, one a line.
    pub(crate) fn new(name: &str, rng: ChaCha8Rng) -> Result<Self, String> {
        let (model, recording) = match model(name) {
            Some(model) => (model, Arc::default()),
            None => (Model::Recorded, recording(name)?),
        };
        let mut noise = Self { rng, model, state: 0.0, recording };
        noise.state = match model {
            Model::Telegraph(enter, leave, _) => f64::from(noise.uniform() < enter / (enter + leave)),
            Model::Ramp(_) => noise.uniform() * 2.0 * HALF_PERIOD,
            Model::Ar1(_, deviation) => noise.normal() * deviation,
            Model::Recorded => (noise.uniform() * noise.recording.len() as f64).floor(),
            _ => 0.0,
        };
        Ok(noise)
    }

    pub(crate) fn uniform(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.rng.next_u32() & 1 == 1
    }

    /// By Box and Muller; half of each pair goes unused.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// The next trial's.
    pub(crate) fn draw(&mut self) -> f64 {
        match self.model {
            Model::Normal(deviation) => deviation * self.normal(),
            Model::Student3 => {
                let chi: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
                0.02 * self.normal() / (chi / 3.0).sqrt() / 3.0_f64.sqrt()
            }
            Model::Outliers => {
                let slowdown = (0.015_f64.ln() + 0.8 * self.normal()).exp();
                let outlier = self.uniform() < 0.05;
                let height = 0.10 + 0.30 * self.uniform();
                -slowdown - if outlier { height } else { 0.0 }
            }
            Model::Telegraph(enter, leave, height) => {
                let value = self.state * height;
                let within = self.state > 0.5;
                let switches = self.uniform() < if within { leave } else { enter };
                self.state = f64::from(within != switches);
                value + 0.02 * self.normal()
            }
            Model::Ramp(slope) => {
                let position = self.state % (2.0 * HALF_PERIOD);
                self.state += 1.0;
                let height = if position < HALF_PERIOD { position } else { 2.0 * HALF_PERIOD - position };
                slope * height + 0.02 * self.normal()
            }
            Model::Ar1(rho, deviation) => {
                let value = self.state;
                self.state = rho * value + deviation * (1.0 - rho * rho).sqrt() * self.normal();
                value
            }
            Model::Recorded => {
                let value = self.recording[self.state as usize];
                self.state = (self.state + 1.0) % self.recording.len() as f64;
                value
            }
        }
    }
}
