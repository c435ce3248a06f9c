//! A whole fine-tuning run: load, warm up, train, validate.

use std::rc::Rc;
use std::time::Instant;

use mlx_rs::{memory, transforms::eval};
use trial_protocol::{Model, Training};

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::linear::KernelLog;
use crate::lora::{BuildKernel, Lora, Slot, attach, initial_adapters};
use crate::model;
use crate::step::{Batch, Execution, State, Step};

/// A model with fresh adapters, its data, and everything else a run needs, loaded and evaluated.
pub struct Trainer {
    step: Step,
    state: State,
    log: Rc<KernelLog>,
    slots: Vec<Slot>,
    quantized_layers: u32,
    /// Layers that the plugged-in kernel was built for; 0 without one.
    kernel_layers: u32,
    train: Vec<Batch>,
    warm_up: Vec<Batch>,
    validation: Vec<Batch>,
}

/// The measured steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Mean loss of each step, nats.
    pub losses: Vec<f64>,
    /// Target tokens in all steps.
    pub tokens: u64,
    /// Wall time of all steps.
    pub seconds: f64,
    /// Peak of MLX's allocator, bytes.
    pub peak_memory_bytes: u64,
    /// MLX's memory in use just before the first step, bytes.
    pub active_memory_bytes: u64,
}

impl Trainer {
    /// Loads model and data, and puts adapters on the last blocks, each run by what `build` makes of its layer
    /// (absent: MLX-LM's own layer). `seed` decides the adapters' beginning and the order of batches.
    pub fn load(model: &Model, training: &Training, seed: u64, build: Option<BuildKernel>) -> Result<Self> {
        let (mut model, tokenizer) = model::load(model)?;
        check(training, model.config.num_hidden_layers)?;
        let data = Dataset::read(&training.data)?;
        let lora = Lora { num_layers: training.num_layers, rank: training.rank, scale: training.scale };
        let slots = attach(&mut model, lora, build)?;
        eval(model.arrays())?;

        let (size, length) = (training.batch_size, training.sequence_length);
        let train = data.train_batches(&tokenizer, size, length)?;
        let validation = data.validation_batches(&tokenizer, size, length)?;
        let state = State::new(initial_adapters(&slots, training.rank, seed)?)?;
        let log = Rc::new(KernelLog::default());
        let quantized_layers = model.quantized_layers();
        let step = Step::new(
            Rc::new(model),
            Rc::clone(&log),
            state.adapters.len(),
            training.optimizer,
            training.learning_rate,
            Execution::default(),
        );
        let kernel_layers = if build.is_some() { slots.len() as u32 } else { 0 };
        Ok(Self {
            step,
            state,
            log,
            slots,
            quantized_layers,
            kernel_layers,
            train: train.shuffled(seed, training.iterations as usize),
            warm_up: train
                .one_of_each_width()
                .into_iter()
                .cycle()
                .take(training.warmup_iterations as usize)
                .collect(),
            validation: validation.first(training.validation_batches as usize).to_vec(),
        })
    }

    /// Takes the warm-up steps and a validation step, forgets what they learned, and empties MLX's cache.
    pub fn warm_up(&mut self) -> Result<()> {
        let mut scratch = self.state.clone();
        for batch in &self.warm_up {
            self.step.train(&mut scratch, batch)?;
        }
        drop(scratch);
        memory::clear_cache()?;
        Ok(())
    }

    /// Takes the measured steps.
    pub fn run(&mut self) -> Result<Run> {
        memory::reset_peak_memory()?;
        let active_memory_bytes = memory::active_memory()? as u64;
        let mut losses = Vec::with_capacity(self.train.len());
        let mut tokens = 0;
        let start = Instant::now();
        for batch in &self.train {
            let loss = self.step.train(&mut self.state, batch)?;
            losses.push(loss.mean);
            tokens += loss.tokens;
        }
        let seconds = start.elapsed().as_secs_f64();
        let peak_memory_bytes = memory::peak_memory()? as u64;
        Ok(Run { losses, tokens, seconds, peak_memory_bytes, active_memory_bytes })
    }

    /// Mean loss per token on the held-out batches, which are the same for every seed.
    pub fn validation_loss(&self) -> Result<f64> {
        let (mut sum, mut tokens) = (0.0, 0);
        for batch in &self.validation {
            let loss = self.step.evaluate(&self.state.adapters, batch)?;
            sum += loss.mean * loss.tokens as f64;
            tokens += loss.tokens;
        }
        Ok(sum / tokens as f64)
    }

    /// Linear layers of the model (head included) with quantized weights.
    pub fn quantized_layers(&self) -> u32 {
        self.quantized_layers
    }

    /// Layers that the plugged-in kernel was built for; 0 without one.
    pub fn kernel_layers(&self) -> u32 {
        self.kernel_layers
    }

    /// Forward calls of adapted layers so far.
    pub fn kernel_calls(&self) -> u64 {
        self.log.calls()
    }

    /// The adapted layers, in the order of [`Self::state`]'s arrays.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Adapters and optimizer moments as they are now.
    pub fn state(&self) -> &State {
        &self.state
    }
}

fn check(training: &Training, blocks: i32) -> Result<()> {
    if training.num_layers > blocks {
        return Err(Error::setting(
            "num_layers",
            format!("is {}, but the model has {blocks} blocks; lower it (0 means all)", training.num_layers),
        ));
    }
    for (name, value) in [("scale", training.scale), ("learning_rate", training.learning_rate)] {
        if !value.is_finite() || value < 0.0 {
            return Err(Error::setting(name, format!("is {value}; it must be a number of at least 0")));
        }
    }
    for (name, value) in
        [("iterations", training.iterations), ("validation_batches", training.validation_batches)]
    {
        if value == 0 {
            return Err(Error::setting(name, "is 0; it must be at least 1"));
        }
    }
    Ok(())
}
