//! Comparison with fine-tuning runs that MLX-LM recorded.
//!
//! A run folder holds `expected.json`, `batches`, `adapters_init`, `adapters_final`, `grads_step0` and `logits_step0`
//! (all safetensors) and lies in the folder of the model it was made with.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, Dtype};
use serde::Deserialize;
use trial_protocol::{AdapterKind, Optimizer};

use crate::error::{Error, Result};
use crate::linear::KernelLog;
use crate::lora::{Lora, Slot, attach};
use crate::model::read_model;
use crate::step::{Batch, Execution, State, Step};
use crate::weights::read_safetensors;

/// Allowed relative deviation of a float32 run.
pub const FLOAT32_TOLERANCE: f64 = 1e-4;
/// Allowed relative deviation of a run in half precision.
pub const HALF_TOLERANCE: f64 = 2e-2;

/// `expected.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Expected {
    kind: String,
    optimizer: String,
    num_layers: i32,
    rank: i32,
    scale: f32,
    #[serde(default)]
    dropout: f64,
    learning_rate: f32,
    losses: Vec<f64>,
}

/// The worst relative deviations of one run from MLX-LM's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deviations {
    /// Loss of any step.
    pub losses: f64,
    /// Gradients of the first step: per array, largest difference over largest magnitude.
    pub gradients: f64,
    /// Adapters after the last step, measured likewise.
    pub adapters: f64,
    /// Logits before the first step, measured likewise.
    pub logits: f64,
    /// What is allowed for the model's dtype.
    pub tolerance: f64,
    /// Steps compared.
    pub steps: usize,
    /// How the steps were run in this comparison.
    pub execution: Execution,
}

impl Deviations {
    /// Whether every deviation is a number within the tolerance.
    pub fn passed(&self) -> bool {
        [self.losses, self.gradients, self.adapters, self.logits]
            .iter()
            .all(|deviation| *deviation <= self.tolerance)
    }
}

/// All run folders at or below `folder`, sorted.
pub fn find_runs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut runs = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(next) = pending.pop() {
        if next.join("expected.json").is_file() {
            runs.push(next.clone());
        }
        let entries =
            std::fs::read_dir(&next).map_err(|error| Error::parity(&next, format!("can't list: {error}")))?;
        for entry in entries {
            let path = entry.map_err(|error| Error::parity(&next, format!("can't list: {error}")))?.path();
            if path.is_dir() {
                pending.push(path);
            }
        }
    }
    runs.sort();
    Ok(runs)
}

/// Repeats one recorded run and compares, operation by operation, and if that deviates, compiled.
///
/// MLX-LM compiles its step; a script that calls its parts need not. Fused operations round differently in the last
/// bit, and Adam divides noise by noise, so at high learning rates the two part for good after some steps. A trainer
/// that does the same work matches a run executed as the run was.
pub fn compare(run: &Path) -> Result<Deviations> {
    let direct = compare_executed(run, Execution::Direct)?;
    if direct.passed() {
        return Ok(direct);
    }
    let compiled = compare_executed(run, Execution::Compiled);
    Ok(compiled.ok().filter(Deviations::passed).unwrap_or(direct))
}

/// Repeats one recorded run in the given way and compares.
pub fn compare_executed(run: &Path, execution: Execution) -> Result<Deviations> {
    let path = run.join("expected.json");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Error::parity(&path, format!("can't read: {error}")))?;
    let expected: Expected =
        serde_json::from_str(&text).map_err(|error| Error::parity(&path, format!("unusable: {error}")))?;
    let kind = match expected.kind.as_str() {
        "lora" => AdapterKind::Lora,
        "dora" => AdapterKind::Dora,
        other => return Err(Error::parity(&path, format!("kind `{other}`; `lora` and `dora` are known"))),
    };
    let optimizer = match expected.optimizer.as_str() {
        "adam" => Optimizer::Adam,
        "adamw" => Optimizer::Adamw,
        other => {
            return Err(Error::parity(&path, format!("optimizer `{other}`; adam and adamw are known")));
        }
    };
    if expected.dropout != 0.0 {
        return Err(Error::parity(&path, format!("dropout {}; only 0 can be compared", expected.dropout)));
    }
    let folder = run.parent().ok_or_else(|| Error::parity(run, "lies in no model folder"))?;
    let mut model = read_model(folder)?;
    let Expected { num_layers, rank, scale, .. } = expected;
    let lora = Lora { num_layers, rank, scale, kind };
    let slots = attach(&mut model, lora, None)?;
    let half = model.arrays().iter().any(|array| matches!(array.dtype(), Dtype::Float16 | Dtype::Bfloat16));

    let read = |name: &str| read_named(run, name, &slots, kind);
    let mut state = State::new(read("adapters_init")?)?;
    let batches = read_batches(run)?;
    if batches.len() != expected.losses.len() {
        let problem =
            format!("{} batches, but {} losses in expected.json", batches.len(), expected.losses.len());
        return Err(Error::parity(run, problem));
    }
    let Some(first) = batches.first() else { return Err(Error::parity(run, "no batches in it")) };

    let (log, count) = (Rc::new(KernelLog::default()), state.adapters.len());
    let mut step = Step::new(Rc::new(model), log, count, optimizer, expected.learning_rate, execution);
    let logits =
        deviation(&step.last_logits(&state.adapters, first)?, &read_one(run, "logits_step0", "logits")?)?;
    let gradients = worst(&step.gradients(&state.adapters, first)?, &read("grads_step0")?)?;
    let mut losses = 0.0_f64;
    for (batch, expected) in batches.iter().zip(&expected.losses) {
        let loss = step.train(&mut state, batch)?.mean;
        losses = larger(losses, (loss - expected).abs() / expected.abs());
    }
    let adapters = worst(&state.adapters, &read("adapters_final")?)?;
    let tolerance = if half { HALF_TOLERANCE } else { FLOAT32_TOLERANCE };
    Ok(Deviations { losses, gradients, adapters, logits, tolerance, steps: batches.len(), execution })
}

/// `tokens [steps, batch, length]` and `lengths [steps, batch, 2]` as batches.
pub fn read_batches(run: &Path) -> Result<Vec<Batch>> {
    let tokens = read_one(run, "batches", "tokens")?.as_dtype(Dtype::Int32)?;
    let lengths = read_one(run, "batches", "lengths")?.as_dtype(Dtype::Int32)?;
    match (tokens.shape(), lengths.shape()) {
        ([steps, batch, _], [steps_too, batch_too, 2]) if steps == steps_too && batch == batch_too => {}
        (tokens, lengths) => {
            let problem =
                format!("batches.safetensors: tokens {tokens:?} and lengths {lengths:?} don't fit together");
            return Err(Error::parity(run, problem));
        }
    }
    let steps = 0..tokens.shape()[0];
    steps
        .map(|index| Ok(Batch { tokens: tokens.try_index(index)?, lengths: lengths.try_index(index)? }))
        .collect()
}

/// The arrays of `name.safetensors` in the order of `slots`; fails if the layers aren't the same.
fn read_named(run: &Path, name: &str, slots: &[Slot], kind: AdapterKind) -> Result<Vec<Array>> {
    let file = run.join(format!("{name}.safetensors"));
    let mut arrays = read_safetensors(&file)?;
    let mut ordered = Vec::with_capacity(3 * slots.len());
    for slot in slots {
        for part in kind.arrays() {
            let key = format!("{}.{part}", slot.layer);
            ordered
                .push(arrays.remove(&key).ok_or_else(|| Error::parity(&file, format!("no array `{key}`")))?);
        }
    }
    match arrays.keys().min() {
        None => Ok(ordered),
        Some(extra) => {
            Err(Error::parity(&file, format!("`{extra}` belongs to no layer that gets an adapter here")))
        }
    }
}

fn read_one(run: &Path, name: &str, key: &str) -> Result<Array> {
    let file = run.join(format!("{name}.safetensors"));
    let mut arrays: HashMap<_, _> = read_safetensors(&file)?;
    arrays.remove(key).ok_or_else(|| Error::parity(&file, format!("no array `{key}`")))
}

fn worst(ours: &[Array], theirs: &[Array]) -> Result<f64> {
    ours.iter().zip(theirs).try_fold(0.0, |worst, (ours, theirs)| Ok(larger(worst, deviation(ours, theirs)?)))
}

/// Largest difference over the reference's largest magnitude; infinite if the shapes differ.
fn deviation(ours: &Array, theirs: &Array) -> Result<f64> {
    if ours.shape() != theirs.shape() {
        return Ok(f64::INFINITY);
    }
    let largest = |array: &Array| -> Result<f64> {
        Ok(f64::from(array.as_dtype(Dtype::Float32)?.abs()?.max(None)?.try_item_cast::<f32>()?))
    };
    let difference = largest(&ours.as_dtype(Dtype::Float32)?.subtract(theirs.as_dtype(Dtype::Float32)?)?)?;
    let magnitude = largest(theirs)?;
    Ok(if difference == 0.0 { 0.0 } else { difference / magnitude })
}

/// The larger number; NaN counts as largest.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}
