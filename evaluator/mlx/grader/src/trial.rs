//! What a trial's adapters should be, and how far they are from it.
//!
//! The grader trains with the same seed by MLX-LM's own layer. Two honest kernels round differently, and training makes
//! more of that, so how far apart two straightforward executions come out says what a trial is allowed.

use std::collections::VecDeque;

use mlx_rs::Array;
use trainer::data::Dataset;
use trainer::{Error, Result, Trainer};
use trial_protocol::{Dtype, Model, Training, TrialGrade};

use crate::device::Ceilings;
use crate::host;
use crate::straightforward::build_unpacked;

/// At least this deviation is allowed.
pub const LEAST: f64 = 0.02;
/// Allowed: so many times the deviation between two straightforward executions.
pub const FACTOR: f64 = 8.0;
/// At most this deviation is allowed. A kernel that leaves its adapter out of one step in ten is further off.
pub const MOST: f64 = 0.05;

/// Runs that are remembered.
const MEMORY: usize = 32;

/// Judges trials of one model with one training.
pub struct Judge {
    trainer: Trainer,
    ceilings: Ceilings,
    tolerance: f64,
    references: VecDeque<Reference>,
}

/// A run by MLX-LM's own layer.
struct Reference {
    seed: u64,
    iterations: u32,
    changes: Vec<Change>,
    tokens: u64,
    train_loss: f64,
    floor_seconds: f64,
}

/// One adapter array before and after a run.
struct Change {
    before: Vec<f32>,
    after: Vec<f32>,
}

/// The largest deviation, and the array that has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Deviation {
    /// ‖Δ − Δreference‖ / ‖Δreference‖.
    pub worst: f64,
    /// Index of the array.
    pub index: usize,
}

impl Judge {
    /// Loads everything, and measures the device and how far two straightforward executions are apart.
    pub fn new(model: &Model, training: &Training) -> Result<Self> {
        /// Of the run that tolerances are measured with. Any will do.
        const SEED: u64 = 0x006d_6561_7375_7265;
        let data = Dataset::read(&training.data)?;
        let mut trainer = Trainer::load(model, training, &data, None)?;
        let ceilings = Ceilings::measure()?;
        let reference = reference(&mut trainer, &ceilings, SEED, training.iterations)?;
        let mut other = Trainer::load(model, training, &data, Some(build_unpacked))?;
        let start = other.begin(SEED, training.iterations)?;
        let other = numbers(&other.run(start)?.adapters)?;
        let apart = deviation(&reference.changes, &other);
        let tolerance = (FACTOR * apart.worst).clamp(LEAST, MOST);
        // A model that diverges has no tolerance: NaN passes every clamp, and then nothing can pass.
        let tolerance = if tolerance.is_nan() { LEAST } else { tolerance };
        Ok(Self { trainer, ceilings, tolerance, references: VecDeque::from([reference]) })
    }

    /// The trainer, with MLX-LM's own layer.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// Length of all adapters as bytes.
    pub fn adapter_bytes(&self) -> u64 {
        self.lengths().map(|length| length as u64 * 4).sum()
    }

    /// Judges the adapters that a trial returned; they must be [`Self::adapter_bytes`] long.
    pub fn grade(&mut self, seed: u64, iterations: u32, adapters: &[u8]) -> Result<TrialGrade> {
        if adapters.len() as u64 != self.adapter_bytes() {
            return Err(Error::Setting { setting: "adapters", problem: "of another length".into() });
        }
        let values = host::from_bytes(adapters, Dtype::Float32);
        let mut rest = values.as_slice();
        let mut arrays = Vec::new();
        for length in self.lengths() {
            let (array, after) = rest.split_at(length);
            arrays.push(array.to_vec());
            rest = after;
        }
        let finite = values.iter().all(|value| value.is_finite());
        let validation_loss =
            if finite { self.trainer.validation_loss(&self.arrays(&arrays))? } else { f64::NAN };
        let tolerance = self.tolerance;
        let reference = self.reference(seed, iterations)?;
        let deviation = deviation(&reference.changes, &arrays);
        let (tokens, train_loss, floor_seconds) =
            (reference.tokens, reference.train_loss, reference.floor_seconds);
        let part = ["lora_a", "lora_b"][deviation.index % 2];
        let worst = match self.trainer.slots().get(deviation.index / 2) {
            Some(slot) => format!("{} {part}", slot.layer),
            None => String::new(),
        };
        Ok(TrialGrade {
            tokens,
            validation_loss,
            train_loss,
            deviation: deviation.worst,
            tolerance,
            worst,
            floor_seconds,
        })
    }

    fn reference(&mut self, seed: u64, iterations: u32) -> Result<&Reference> {
        let known = |reference: &Reference| (reference.seed, reference.iterations) == (seed, iterations);
        if let Some(index) = self.references.iter().position(known) {
            return Ok(&self.references[index]);
        }
        let new = reference(&mut self.trainer, &self.ceilings, seed, iterations)?;
        self.references.truncate(MEMORY - 1);
        self.references.push_front(new);
        Ok(&self.references[0])
    }

    fn shapes(&self) -> impl Iterator<Item = [i32; 2]> {
        let rank = self.trainer.rank();
        self.trainer.slots().iter().flat_map(move |slot| [[slot.input, rank], [rank, slot.output]])
    }

    fn lengths(&self) -> impl Iterator<Item = usize> {
        self.shapes().map(|[rows, columns]| rows as usize * columns as usize)
    }

    fn arrays(&self, values: &[Vec<f32>]) -> Vec<Array> {
        self.shapes().zip(values).map(|(shape, values)| Array::from_slice(values, &shape)).collect()
    }
}

fn reference(trainer: &mut Trainer, ceilings: &Ceilings, seed: u64, iterations: u32) -> Result<Reference> {
    let start = trainer.begin(seed, iterations)?;
    let before = numbers(start.adapters())?;
    let (bytes, multiply_adds) = least_work(trainer, start.sizes());
    let run = trainer.run(start)?;
    let after = numbers(&run.adapters)?;
    Ok(Reference {
        seed,
        iterations,
        changes: before.into_iter().zip(after).map(|(before, after)| Change { before, after }).collect(),
        tokens: run.tokens,
        train_loss: run.losses.last().copied().unwrap_or(f64::NAN),
        floor_seconds: ceilings.floor(bytes, multiply_adds),
    })
}

/// Bytes of frozen weights to read and multiplications to make in steps of these sizes: each adapted layer's weight once
/// for the result and once for the gradient of x. The first block's first layers need no such gradient.
fn least_work(trainer: &Trainer, sizes: impl Iterator<Item = (i32, i32)>) -> (f64, f64) {
    let slots = trainer.slots();
    let first = slots.first().map(|slot| slot.layer.rsplit_once('.').map_or("", |(block, _)| block).to_owned());
    let passes = |layer: &str| {
        let block = layer.rsplit_once('.').map_or("", |(block, _)| block);
        if Some(block) == first.as_deref() { 1.0 } else { 2.0 }
    };
    let (mut bytes, mut weights) = (0.0, 0.0);
    for slot in slots {
        let passes = passes(&slot.layer);
        bytes += passes * slot.weight_bytes as f64;
        weights += passes * f64::from(slot.input) * f64::from(slot.output);
    }
    sizes.fold((0.0, 0.0), |(read, multiplied), (rows, length)| {
        (read + bytes, multiplied + weights * f64::from(rows) * f64::from(length))
    })
}

fn numbers(arrays: &[Array]) -> Result<Vec<Vec<f32>>> {
    arrays.iter().map(|array| Ok(host::from_bytes(&host::bytes(array)?, Dtype::Float32))).collect()
}

/// The largest ‖Δ − Δreference‖ / ‖Δreference‖ over all arrays; NaN if a value isn't finite.
fn deviation(changes: &[Change], after: &[Vec<f32>]) -> Deviation {
    let mut largest = Deviation { worst: 0.0, index: 0 };
    for (index, (change, after)) in changes.iter().zip(after).enumerate() {
        let (mut apart, mut length) = (0.0_f64, 0.0_f64);
        for ((&before, &reference), &after) in change.before.iter().zip(&change.after).zip(after) {
            apart += (f64::from(after) - f64::from(reference)).powi(2);
            length += (f64::from(reference) - f64::from(before)).powi(2);
        }
        // Where the reference changed nothing, nothing may change.
        let ratio = if apart == 0.0 { 0.0 } else { (apart / length).sqrt() };
        if ratio.is_nan() {
            return Deviation { worst: f64::NAN, index };
        }
        if ratio > largest.worst {
            largest = Deviation { worst: ratio, index };
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: &[f32], after: &[f32]) -> Change {
        Change { before: before.to_vec(), after: after.to_vec() }
    }

    #[test]
    fn the_deviation_is_that_of_the_worst_array_relative_to_its_change() {
        let changes = [change(&[0.0, 0.0], &[3.0, 4.0]), change(&[1.0], &[2.0])];
        let same = deviation(&changes, &[vec![3.0, 4.0], vec![2.0]]);
        assert_eq!(same.worst, 0.0);
        let off = deviation(&changes, &[vec![3.0, 4.5], vec![2.25]]);
        assert_eq!(off, Deviation { worst: 0.25, index: 1 });
        let untrained = deviation(&changes, &[vec![0.0, 0.0], vec![2.0]]);
        assert_eq!(untrained, Deviation { worst: 1.0, index: 0 });
    }

    #[test]
    fn what_should_not_change_must_not() {
        let changes = [change(&[1.0], &[1.0])];
        assert_eq!(deviation(&changes, &[vec![1.0]]).worst, 0.0);
        assert_eq!(deviation(&changes, &[vec![1.5]]).worst, f64::INFINITY);
    }

    #[test]
    fn what_is_not_finite_is_no_number() {
        let changes = [change(&[0.0], &[1.0]), change(&[0.0], &[1.0])];
        assert!(deviation(&changes, &[vec![1.0], vec![f32::NAN]]).worst.is_nan());
        assert!(!deviation(&changes, &[vec![f32::INFINITY], vec![1.0]]).worst.is_finite());
    }
}
