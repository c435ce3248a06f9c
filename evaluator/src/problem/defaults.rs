//! What holds where `problem.yaml` is silent.

use search::Language;
use trial_protocol::{AdapterKind, CheckCase, Dtype, Quantization};

use super::{Checks, Constraints, FixedSettings, Limits, RaceSettings, SandboxSettings, Seed7Settings};

pub(super) fn rust() -> Language {
    Language::Rust
}

pub(super) fn one() -> usize {
    1
}

pub(super) fn minimal_effect() -> f64 {
    0.01
}

impl Default for Constraints {
    fn default() -> Self {
        Self { loss: 0.01 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            compile_seconds: 30.0,
            check_seconds: 60.0,
            trial_seconds: 300.0,
            memory_bytes: 16 << 30,
            program_bytes: 256 << 10,
        }
    }
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            read: Vec::new(),
            programs: Vec::new(),
            devices: Vec::new(),
            network: false,
            processes: 64,
            scratch_bytes: 256 << 20,
        }
    }
}

impl Default for FixedSettings {
    fn default() -> Self {
        Self { trials: 5, alpha: 0.05, baseline_seed: 42, candidate_seed: 100 }
    }
}

impl Default for Seed7Settings {
    fn default() -> Self {
        Self { trials: 7, threshold: 1.6, baseline_seed: 42, candidate_seed: 100 }
    }
}

/// Tuned by simulation on six noise models; `docs/statistics.md` has the figures.
impl Default for RaceSettings {
    fn default() -> Self {
        Self {
            calibration: 6,
            reference_age: 6,
            reference_pool: 3,
            screen_trials: 3,
            screen_effect: 1.25,
            screen_miss: 0.3,
            screen_pass: 0.2,
            screen_loss: 0.05,
            confirm_effect: 0.75,
            confirm_miss: 0.15,
            bet: 2.5,
            min_pairs: 6,
            max_pairs: 24,
            alpha: 0.05,
            patience: 20,
            noise_floor: 0.002,
            prior: 0.05,
            slow: 2.0,
            promote: true,
        }
    }
}

impl Default for Checks {
    fn default() -> Self {
        Self { error_budget: 16.0, cases: cases(), secret_cases: 19 }
    }
}

/// Wide, tall, one row and many, both group sizes and widths, with and without bias, in two dtypes: a kernel
/// that is right only for the shapes of the model at hand fails one of them.
fn cases() -> Vec<CheckCase> {
    let float32 = |batch, length, input, output, rank, quantization: Option<(i32, i32)>, bias| CheckCase {
        batch,
        length,
        input,
        output,
        rank,
        scale: 10.0,
        quantization: quantization.map(|(group_size, bits)| Quantization { group_size, bits }),
        bias,
        dtype: Dtype::Float32,
        adapter: AdapterKind::Lora,
        siblings: Vec::new(),
    };
    let mut cases = vec![
        float32(2, 16, 128, 128, 8, Some((64, 4)), false),
        float32(1, 7, 256, 96, 4, Some((64, 4)), true),
        float32(3, 5, 64, 192, 8, Some((32, 4)), false),
        float32(1, 1, 128, 64, 16, Some((32, 8)), true),
        float32(2, 33, 192, 128, 8, Some((64, 8)), false),
        float32(2, 9, 96, 160, 8, None, true),
    ];
    cases.push(CheckCase { dtype: Dtype::Bfloat16, ..float32(2, 16, 128, 128, 8, Some((64, 4)), true) });
    cases
}
