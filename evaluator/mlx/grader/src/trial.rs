//! What a trial's adapters should be, and how far they are from it.
//!
//! The grader trains with the same seed by MLX-LM's own layer. Two honest kernels round differently, and training makes
//! more of that, so how far apart two straightforward executions come out says what a trial is allowed. (Measured, see
//! `tests/trials.rs`: in float32 honest kernels come within 0.005, in half precision within 0.06 at ordinary learning rates;
//! a kernel that leaves out its adapter, its gradients or those of x in one step of ten is off by 0.1 or more. At learning
//! rates where rounding alone changes a tenth of what is learned, no judge could tell.)
//!
//! In half precision MLX's packed product may round every partial sum, so that kernels which unpack the weight come out
//! together, but away from those that don't. Then there is a second reference, which does it the other way than MLX-LM (it unpacks
//! for LoRA and doesn't for DoRA), and the nearer one counts.

use std::collections::{BTreeMap, VecDeque};

use mlx_rs::Array;
use trainer::data::Dataset;
use trainer::{BuildKernel, Error, Result, Trainer};
use trial_protocol::{AdapterKind, Dtype, Model, Training, TrialGrade};

use crate::device::Ceilings;
use crate::host;
use crate::straightforward::{HALVES, OTHER, UNPACKED};

/// At least this deviation is allowed, and so many times the deviation between two ways of adding up. In half precision.
pub const HALF: (f64, f64) = (0.02, 2.0);
/// The same in single precision, at ordinary learning rates: there honest kernels deviate by 0.0003 at most (by 0.00002 at the
/// flagship's settings), and one that computes in bfloat16 inside by 0.003 to 0.005. What is left above the honest ones is for
/// single signs that Adam turns round.
pub const SINGLE_PRECISION: (f64, f64) = (0.002, 4.0);
/// The learning rate up to which that holds. From there the least grows alike, up to that of half precision: at 0.001 honest
/// kernels are 0.005 apart.
const ORDINARY_RATE: f64 = 1e-4;
/// At most this deviation is allowed, however chaotic the training is.
pub const MOST: f64 = 0.3;

/// One array may deviate so many times as much as all of them together: one has fewer numbers to average over.
const SINGLE: f64 = 4.0;

/// Adam moves a number by its learning rate whatever the size of its gradient, so where a gradient is next to nothing rounding may
/// turn the sign of a step: seen in one of some thousand trials of honest float32 kernels, in one number. So many numbers
/// in a trial are forgiven. (In half precision hundreds turn.)
const TURNED_SIGNS: usize = 3;
/// With fewer numbers than this in all adapters each counts.
const FEW: usize = 1_000;

/// Seed of the runs that tolerances are measured with. Any will do.
const MEASURED: u64 = 0x006d_6561_7375_7265;

/// Runs that are remembered.
const MEMORY: usize = 32;

/// Judges trials of one model with one training.
pub struct Judge {
    model: Model,
    training: Training,
    data: Dataset,
    /// MLX-LM's own layer first; then whatever else is a reference.
    trainers: Vec<Trainer>,
    ceilings: Ceilings,
    /// By number of steps.
    tolerances: BTreeMap<u32, f64>,
    references: VecDeque<Reference>,
}

/// What the references made of a seed.
struct Reference {
    seed: u64,
    iterations: u32,
    before: Vec<Vec<f32>>,
    /// Of each trainer.
    after: Vec<Vec<Vec<f32>>>,
    tokens: u64,
    train_loss: f64,
    floor_seconds: f64,
}

/// How far apart two runs are: the larger of ‖Δ − Δreference‖ / ‖Δreference‖ over everything and a quarter of it over the
/// array where that is largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deviation {
    /// NaN if a value isn't finite.
    pub size: f64,
    /// The array with the largest one of its own.
    pub worst: usize,
}

impl Judge {
    /// Loads everything, and measures the device and how far straightforward executions are apart.
    pub fn new(model: &Model, training: &Training) -> Result<Self> {
        let data = Dataset::read(&training.data)?;
        let mut judge = Self {
            model: model.clone(),
            training: training.clone(),
            trainers: vec![Trainer::load(model, training, &data, None)?],
            data,
            ceilings: Ceilings::measure()?,
            tolerances: BTreeMap::new(),
            references: VecDeque::new(),
        };
        let iterations = training.iterations;
        let tolerance = judge.tolerance(iterations)?;
        let mut trainer = judge.load(OTHER)?;
        let before = judge.before()?;
        let (own, other) = (end(&mut judge.trainers[0], iterations)?, end(&mut trainer, iterations)?);
        if deviation(&before, &other, &own).size > tolerance / 4.0 {
            judge.trainers.push(trainer);
        }
        Ok(judge)
    }

    /// What a trial of so many steps may deviate.
    pub fn tolerance(&mut self, iterations: u32) -> Result<f64> {
        if let Some(tolerance) = self.tolerances.get(&iterations) {
            return Ok(*tolerance);
        }
        let whole = end(&mut self.load(UNPACKED)?, iterations)?;
        let halves = end(&mut self.load(HALVES)?, iterations)?;
        let rounding = deviation(&self.before()?, &whole, &halves).size;
        // A training that diverges has no tolerance: then the least remains.
        let is_single = self.trainer().slots().iter().all(|slot| slot.dtype == Dtype::Float32);
        let (least, factor) = if is_single { SINGLE_PRECISION } else { HALF };
        let rate = f64::from(self.training.learning_rate) / ORDINARY_RATE;
        let least = (least * rate).clamp(least, HALF.0);
        let tolerance = if rounding.is_nan() { least } else { (factor * rounding).clamp(least, MOST) };
        self.tolerances.insert(iterations, tolerance);
        Ok(tolerance)
    }

    fn load(&self, build: BuildKernel) -> Result<Trainer> {
        Trainer::load(&self.model, &self.training, &self.data, Some(build))
    }

    /// The adapters before the run that tolerances are measured with.
    fn before(&self) -> Result<Vec<Vec<f32>>> {
        numbers(&self.trainer().initial_adapters(MEASURED)?)
    }

    /// The trainer, with MLX-LM's own layer.
    pub fn trainer(&self) -> &Trainer {
        &self.trainers[0]
    }

    /// Length of all adapters as bytes, if they are of this kind.
    pub fn adapter_bytes(&self, kind: AdapterKind) -> u64 {
        self.trainer().shapes(kind).map(|shape| size(&shape) as u64 * 4).sum()
    }

    /// Judges the adapters that a trial returned; they must be [`Self::adapter_bytes`] of the
    /// training's kind long.
    pub fn grade(&mut self, seed: u64, iterations: u32, adapters: &[u8]) -> Result<TrialGrade> {
        let kind = self.trainer().kind();
        if adapters.len() as u64 != self.adapter_bytes(kind) {
            return Err(Error::Setting { setting: "adapters", problem: "of another length".into() });
        }
        let values = host::from_bytes(adapters, Dtype::Float32);
        let mut rest = values.as_slice();
        let mut arrays = Vec::new();
        for shape in self.trainer().shapes(kind) {
            let (array, after) = rest.split_at(size(&shape));
            arrays.push(array.to_vec());
            rest = after;
        }
        let finite = values.iter().all(|value| value.is_finite());
        let validation_loss =
            if finite { self.trainer().validation_loss(&self.arrays(&arrays))? } else { f64::NAN };
        let tolerance = self.tolerance(iterations)?;
        let reference = self.reference(seed, iterations)?;
        let deviation = reference.deviation(&arrays);
        let (tokens, train_loss, floor_seconds) =
            (reference.tokens, reference.train_loss, reference.floor_seconds);
        let parts = kind.arrays();
        let part = parts[deviation.worst % parts.len()];
        let worst = match self.trainer().slots().get(deviation.worst / parts.len()) {
            Some(slot) => format!("{} {part}", slot.layer),
            None => String::new(),
        };
        Ok(TrialGrade {
            tokens,
            validation_loss,
            train_loss,
            deviation: deviation.size,
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
        let new = self.train(seed, iterations)?;
        self.references.truncate(MEMORY - 1);
        self.references.push_front(new);
        Ok(&self.references[0])
    }

    fn train(&mut self, seed: u64, iterations: u32) -> Result<Reference> {
        let start = self.trainer().begin(seed, iterations)?;
        let before = numbers(start.adapters())?;
        let (bytes, multiply_adds) = least_work(self.trainer(), start.sizes());
        drop(start);
        let (mut after, mut tokens, mut train_loss) = (Vec::new(), 0, f64::NAN);
        for (index, trainer) in self.trainers.iter_mut().enumerate() {
            let start = trainer.begin(seed, iterations)?;
            let run = trainer.run(start)?;
            after.push(numbers(&run.adapters)?);
            if index == 0 {
                (tokens, train_loss) = (run.tokens, run.losses.last().copied().unwrap_or(f64::NAN));
            }
        }
        let floor_seconds = self.ceilings.floor(bytes, multiply_adds);
        Ok(Reference { seed, iterations, before, after, tokens, train_loss, floor_seconds })
    }

    fn arrays(&self, values: &[Vec<f32>]) -> Vec<Array> {
        let shapes = self.trainer().shapes(self.trainer().kind());
        shapes.zip(values).map(|(shape, values)| Array::from_slice(values, &shape)).collect()
    }
}

fn size(shape: &[i32]) -> usize {
    shape.iter().map(|&length| length as usize).product()
}

/// The adapters after the run that tolerances are measured with.
fn end(trainer: &mut Trainer, iterations: u32) -> Result<Vec<Vec<f32>>> {
    let start = trainer.begin(MEASURED, iterations)?;
    numbers(&trainer.run(start)?.adapters)
}

impl Reference {
    /// From the nearest.
    fn deviation(&self, adapters: &[Vec<f32>]) -> Deviation {
        let each = self.after.iter().map(|after| deviation(&self.before, after, adapters));
        // NaN is the largest of all.
        each.min_by(|a, b| a.size.total_cmp(&b.size)).unwrap_or(Deviation { size: f64::NAN, worst: 0 })
    }
}

/// Bytes of frozen weights to read and multiplications to make in steps of these sizes: each adapted layer's weight once
/// for the result and once for the gradient of x. The first block's first layers need no such gradient; the whole block is
/// taken for one that doesn't.
fn least_work(trainer: &Trainer, sizes: impl Iterator<Item = (i32, i32)>) -> (f64, f64) {
    let slots = trainer.slots();
    let first = slots.first().map_or("", |slot| block(&slot.layer));
    let passes = |layer: &str| if block(layer) == first { 1.0 } else { 2.0 };
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

/// `model.layers.0` of `model.layers.0.mlp.up_proj`.
fn block(layer: &str) -> &str {
    layer.match_indices('.').nth(2).map_or(layer, |(end, _)| &layer[..end])
}

fn numbers(arrays: &[Array]) -> Result<Vec<Vec<f32>>> {
    arrays.iter().map(|array| Ok(host::from_bytes(&host::bytes(array)?, Dtype::Float32))).collect()
}

fn deviation(before: &[Vec<f32>], reference: &[Vec<f32>], after: &[Vec<f32>]) -> Deviation {
    // Where the reference changed nothing, nothing may change.
    let ratio = |apart: f64, length: f64| if apart == 0.0 { 0.0 } else { (apart / length).sqrt() };
    let lengths: Vec<f64> = before.iter().zip(reference).map(|(from, to)| squares(from, to).sum()).collect();
    let forgiven = turned_signs(reference, after, &lengths);
    let (mut largest, mut worst) = (0.0_f64, 0);
    let (mut all_apart, mut all_length) = (0.0_f64, 0.0_f64);
    for (index, ((reference, after), length)) in reference.iter().zip(after).zip(lengths).enumerate() {
        let all: f64 = squares(reference, after).sum();
        let turned: f64 =
            forgiven.iter().filter(|turned| turned.array == index).map(|turned| turned.square).sum();
        // Rounding must not make it negative.
        let apart = if turned > 0.0 { (all - turned).max(0.0) } else { all };
        let own = ratio(apart, length);
        if own.is_nan() {
            return Deviation { size: f64::NAN, worst: index };
        }
        if own > largest {
            (largest, worst) = (own, index);
        }
        all_apart += apart;
        all_length += length;
    }
    Deviation { size: ratio(all_apart, all_length).max(largest / SINGLE), worst }
}

/// Squared differences, number by number.
fn squares<'a>(from: &'a [f32], to: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
    from.iter().zip(to).map(|(&from, &to)| (f64::from(to) - f64::from(from)).powi(2))
}

/// A number that is further off than any other.
#[derive(Debug, Clone, Copy)]
struct Turned {
    array: usize,
    square: f64,
    /// Of what its array learned.
    share: f64,
}

/// The [`TURNED_SIGNS`] numbers that make most of their arrays' deviation; none if there are so few numbers that each counts, or one isn't
/// finite.
fn turned_signs(reference: &[Vec<f32>], after: &[Vec<f32>], lengths: &[f64]) -> Vec<Turned> {
    let count: usize = after.iter().map(Vec::len).sum();
    let finite = after.iter().flatten().all(|value| value.is_finite());
    if count < FEW || !finite {
        return Vec::new();
    }
    let mut largest: Vec<Turned> = Vec::with_capacity(TURNED_SIGNS + 1);
    for (array, ((reference, after), &length)) in reference.iter().zip(after).zip(lengths).enumerate() {
        if length <= 0.0 {
            continue;
        }
        for square in squares(reference, after).filter(|square| *square > 0.0) {
            let share = square / length;
            if largest.len() == TURNED_SIGNS && largest.last().is_some_and(|last| last.share >= share) {
                continue;
            }
            let place = largest.partition_point(|other| other.share >= share);
            largest.insert(place, Turned { array, square, share });
            largest.truncate(TURNED_SIGNS);
        }
    }
    largest
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these are exact")]
mod tests {
    use super::*;

    fn from(changes: [(&[f32], &[f32], &[f32]); 2]) -> Deviation {
        let [before, reference, after] = [
            changes.map(|change| change.0.to_vec()),
            changes.map(|change| change.1.to_vec()),
            changes.map(|change| change.2.to_vec()),
        ];
        deviation(&before, &reference, &after)
    }

    #[test]
    fn the_deviation_is_relative_to_what_was_learned() {
        let same = from([(&[0.0, 0.0], &[3.0, 4.0], &[3.0, 4.0]), (&[1.0], &[2.0], &[2.0])]);
        assert_eq!(same.size, 0.0);
        let untrained = from([(&[0.0, 0.0], &[3.0, 4.0], &[0.0, 0.0]), (&[1.0], &[2.0], &[1.0])]);
        assert_eq!(untrained.size, 1.0);
    }

    #[test]
    fn one_array_that_learned_nothing_is_seen_among_large_ones() {
        let off = from([(&[0.0, 0.0], &[300.0, 400.0], &[300.0, 400.0]), (&[1.0], &[2.0], &[1.0])]);
        assert_eq!(off, Deviation { size: 1.0 / SINGLE, worst: 1 });
    }

    #[test]
    fn three_numbers_whose_signs_rounding_turned_are_forgiven_and_a_fourth_is_not() {
        let before = vec![vec![0.0_f32; 600], vec![0.0; 600]];
        let reference = vec![vec![1.0_f32; 600], vec![0.01; 600]];
        let with = |turned: usize| {
            let mut after = reference.clone();
            for (place, value) in after[1].iter_mut().take(turned).enumerate() {
                *value = if place % 2 == 0 { -0.01 } else { 0.0 };
            }
            deviation(&before, &reference, &after).size
        };
        assert!(with(3) < 1e-9 && with(4) > 0.005, "{} {}", with(3), with(4));
        let mut infinite = reference.clone();
        infinite[0][7] = f32::INFINITY;
        let size = deviation(&before, &reference, &infinite).size;
        assert!(size.is_nan() || size > MOST, "{size}");
    }

    #[test]
    fn a_block_is_named_by_its_number() {
        assert_eq!(block("model.layers.10.mlp.up_proj"), "model.layers.10");
        assert_eq!(block("lm_head"), "lm_head");
    }

    #[test]
    fn what_should_not_change_must_not() {
        let still: (&[f32], &[f32], &[f32]) = (&[0.0], &[1.0], &[1.0]);
        assert_eq!(from([(&[1.0], &[1.0], &[1.0]), still]).size, 0.0);
        assert_eq!(from([(&[1.0], &[1.0], &[1.5]), still]).size, f64::INFINITY);
    }

    #[test]
    fn what_is_not_finite_never_passes() {
        let still: (&[f32], &[f32], &[f32]) = (&[0.0], &[1.0], &[1.0]);
        for value in [f32::NAN, f32::INFINITY] {
            let deviation = from([still, (&[0.0], &[1.0], &[value])]);
            assert!(deviation.size.is_nan() || deviation.size > MOST, "{deviation:?}");
        }
    }
}
