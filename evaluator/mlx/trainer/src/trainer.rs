//! A whole fine-tuning run: load, warm up, train, validate.

use std::rc::Rc;
use std::time::Instant;

use mlx_rs::{Array, memory, transforms::eval};
use trial_protocol::{AdapterKind, Model, Training};

use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::linear::KernelLog;
use crate::lora::{BuildKernel, Lora, Slot, attach, groups, initial_adapters};
use crate::model;
use crate::step::{Batch, Execution, State, Step};

/// A model, its data, and everything else that runs need, loaded and evaluated. One trainer can make many runs.
pub struct Trainer {
    step: Step,
    log: Rc<KernelLog>,
    slots: Vec<Slot>,
    quantized_layers: u32,
    /// Layers that the plugged-in kernel was built for; 0 without one.
    kernel_layers: u32,
    train: Batches,
    validation: Vec<Batch>,
    vocabulary: i32,
    training: Training,
}

/// Fresh adapters and the batches to train them on: what a seed decides.
pub struct Start {
    state: State,
    batches: Vec<Batch>,
}

/// The measured steps.
#[derive(Debug, Clone)]
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
    /// The arrays of each slot in turn, after the last step.
    pub adapters: Vec<Array>,
}

impl Trainer {
    /// Loads the model, and puts adapters on its last blocks, each run by what `build` makes of its layer
    /// (absent: MLX-LM's own layer).
    pub fn load(
        model: &Model,
        training: &Training,
        data: &Dataset,
        build: Option<BuildKernel>,
    ) -> Result<Self> {
        let (mut model, tokenizer) = model::load(model)?;
        check(training, model.config.num_hidden_layers)?;
        let Training { num_layers, rank, scale, fine_tune_type: kind, .. } = *training;
        let lora = Lora { num_layers, rank, scale, kind };
        let slots = attach(&mut model, lora, build)?;
        eval(model.arrays())?;

        let (size, length) = (training.batch_size, training.sequence_length);
        let train = data.train_batches(&tokenizer, size, length)?;
        let validation = if data.validation.is_empty() {
            Vec::new()
        } else {
            let batches = data.validation_batches(&tokenizer, size, length)?;
            batches.first(training.validation_batches as usize).to_vec()
        };
        let (quantized_layers, vocabulary) = (model.quantized_layers(), model.config.vocab_size);
        let log = Rc::new(KernelLog::default());
        let step = Step::new(
            Rc::new(model),
            Rc::clone(&log),
            kind.arrays().len() * slots.len(),
            training.optimizer,
            training.learning_rate,
            if training.compile { Execution::Compiled } else { Execution::Direct },
        );
        let kernel_layers = if build.is_some() { slots.len() as u32 } else { 0 };
        let training = training.clone();
        Ok(Self {
            step,
            log,
            slots,
            quantized_layers,
            kernel_layers,
            train,
            validation,
            vocabulary,
            training,
        })
    }

    /// Takes the warm-up steps on random tokens, forgets what they learned, and empties MLX's cache.
    pub fn warm_up(&mut self, seed: u64) -> Result<()> {
        let count = self.training.warmup_iterations as usize;
        let mut scratch = State::new(self.initial_adapters(seed)?)?;
        for batch in self.train.random(seed, self.vocabulary, count) {
            self.step.train(&mut scratch, &batch)?;
        }
        drop(scratch);
        memory::clear_cache()?;
        Ok(())
    }

    /// How a run with `seed` begins: its adapters, and `iterations` batches in their order.
    pub fn begin(&self, seed: u64, iterations: u32) -> Result<Start> {
        Ok(Start {
            state: State::new(self.initial_adapters(seed)?)?,
            batches: self.train.shuffled(seed, iterations as usize),
        })
    }

    /// Takes all steps of a run.
    pub fn run(&mut self, start: Start) -> Result<Run> {
        let Start { mut state, batches } = start;
        memory::reset_peak_memory()?;
        let active_memory_bytes = memory::active_memory()? as u64;
        let mut losses = Vec::with_capacity(batches.len());
        let mut tokens = 0;
        let start = Instant::now();
        for batch in &batches {
            let loss = self.step.train(&mut state, batch)?;
            losses.push(loss.mean);
            tokens += loss.tokens;
        }
        let seconds = start.elapsed().as_secs_f64();
        let peak_memory_bytes = memory::peak_memory()? as u64;
        let adapters = state.adapters;
        Ok(Run { losses, tokens, seconds, peak_memory_bytes, active_memory_bytes, adapters })
    }

    /// Mean loss per token on the held-out batches, which are the same for every seed. NaN if there are none.
    pub fn validation_loss(&self, adapters: &[Array]) -> Result<f64> {
        let (mut sum, mut tokens) = (0.0, 0);
        for batch in &self.validation {
            let loss = self.step.evaluate(adapters, batch)?;
            sum += loss.mean * loss.tokens as f64;
            tokens += loss.tokens;
        }
        Ok(sum / tokens as f64)
    }

    /// The adapters that a run with `seed` begins with: of each slot in turn, as after `mx.random.seed(seed)`.
    pub fn initial_adapters(&self, seed: u64) -> Result<Vec<Array>> {
        initial_adapters(&self.slots, self.training.rank, seed)
    }

    /// What kind of adapters they are.
    pub fn kind(&self) -> AdapterKind {
        self.training.fine_tune_type
    }

    /// The shapes of all adapters, in their order, or of those that `kind` would have.
    pub fn shapes(&self, kind: AdapterKind) -> impl Iterator<Item = Vec<i32>> {
        self.slots.iter().flat_map(move |slot| kind.shapes(slot.input, slot.output, self.training.rank))
    }

    /// Sequence length that the layers see in the widest batch.
    pub fn longest(&self) -> i32 {
        self.train.longest()
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

    /// Places among [`Self::slots`] of layers that share x.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        groups(&self.slots)
    }

    /// The adapted layers, in the order of their adapters.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }
}

impl Start {
    /// The adapters before the first step.
    pub fn adapters(&self) -> &[Array] {
        &self.state.adapters
    }

    /// Rows and tokens per row that go through the layers, of each step in turn.
    pub fn sizes(&self) -> impl Iterator<Item = (i32, i32)> {
        self.batches.iter().map(|batch| (batch.tokens.shape()[0], batch.tokens.shape()[1] - 1))
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
