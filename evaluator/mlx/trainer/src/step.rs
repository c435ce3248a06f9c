//! One optimizer step: loss, gradients of the adapters, update.

use std::rc::Rc;

use mlx_rs::error::{Exception, Result as MlxResult};
use mlx_rs::ops::indexing::{Ellipsis, TryIndexOp};
use mlx_rs::transforms::compile::compile;
use mlx_rs::transforms::{eval, value_and_grad_with_argnums};
use mlx_rs::{Array, ops};
use trial_protocol::Optimizer;

use crate::error::{Error, Result};
use crate::linear::{Adapters, KernelLog};
use crate::loss::masked_cross_entropy;
use crate::optimizer::{Moments, update};
use crate::qwen2::Qwen2;

/// Token ids `[batch, length]` (int32) and `(offset, length)` per row `[batch, 2]` (int32).
#[derive(Debug, Clone)]
pub struct Batch {
    /// Token ids, padded with zeros.
    pub tokens: Array,
    /// Where each row's loss begins and ends.
    pub lengths: Array,
}

/// What training changes: adapters and the optimizer's moments.
#[derive(Debug, Clone)]
pub struct State {
    /// `lora_a` and `lora_b` of each adapted layer in turn.
    pub adapters: Vec<Array>,
    /// Of all adapters end to end: one update of a long array costs a fraction of many updates of short ones.
    pub moments: Moments,
}

impl State {
    /// A fresh optimizer for `adapters`, all evaluated.
    pub fn new(adapters: Vec<Array>) -> Result<Self> {
        let moments = Moments::new(&join(&adapters)?)?;
        let state = Self { adapters, moments };
        eval(state.adapters.iter().chain([&state.moments.m, &state.moments.v]))?;
        Ok(state)
    }
}

/// Mean loss over the target tokens of a batch, and their number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// Mean cross-entropy, nats.
    pub mean: f64,
    /// Target tokens that counted.
    pub tokens: u64,
}

/// How a step's graph is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// Operation by operation.
    Direct,
    /// Through `mx.compile`, which fuses elementwise operations; on the CPU backend it calls `g++` once per shape.
    Compiled,
}

type ArraysToArrays = Box<dyn FnMut(&[Array]) -> MlxResult<Vec<Array>>>;

/// The training step of one model with fixed settings.
pub struct Step {
    model: Rc<Qwen2>,
    log: Rc<KernelLog>,
    /// (adapters, m, v, tokens, lengths, rate) to (loss, tokens, m, v, adapters).
    run: ArraysToArrays,
    rate: Array,
    parameters: usize,
}

impl Step {
    /// A step for `parameters` adapter arrays.
    pub fn new(
        model: Rc<Qwen2>,
        log: Rc<KernelLog>,
        parameters: usize,
        optimizer: Optimizer,
        learning_rate: f32,
        execution: Execution,
    ) -> Self {
        let mut gradients = gradient_function(Rc::clone(&model), Rc::clone(&log), parameters);
        let whole = move |inputs: &[Array]| -> MlxResult<Vec<Array>> {
            let (adapters, rest) = inputs.split_at(parameters);
            let [m, v, tokens, lengths, rate] = rest else {
                return Err(Exception::custom("a step takes five arrays besides the adapters"));
            };
            let mut arguments = adapters.to_vec();
            arguments.extend([tokens.clone(), lengths.clone()]);
            let (mut outputs, gradients) = gradients(&arguments)?;
            drop(arguments);
            let before = Moments { m: m.clone(), v: v.clone() };
            let (updated, after) = update(optimizer, rate, &join(adapters)?, &join(&gradients)?, &before)?;
            outputs.extend([after.m, after.v]);
            outputs.extend(part(&updated, adapters)?);
            Ok(outputs)
        };
        let run: ArraysToArrays = match execution {
            Execution::Direct => Box::new(whole),
            Execution::Compiled => {
                let mut compiled = compile(whole, false);
                Box::new(move |inputs| compiled(inputs))
            }
        };
        Self { model, log, run, rate: Array::from_f32(learning_rate), parameters }
    }

    /// Trains on one batch and waits for the result.
    pub fn train(&mut self, state: &mut State, batch: &Batch) -> Result<Loss> {
        let mut inputs: Vec<Array> = state.adapters.clone();
        inputs.extend(
            [&state.moments.m, &state.moments.v, &batch.tokens, &batch.lengths, &self.rate].map(Array::clone),
        );
        let outputs = (self.run)(&inputs).and_then(|outputs| eval(&outputs).map(|()| outputs));
        let mut outputs = outputs.map_err(|error| self.blame(error))?.into_iter();
        let loss = loss_of(outputs.next(), outputs.next())?;
        let (Some(m), Some(v)) = (outputs.next(), outputs.next()) else {
            return Err(Error::Mlx(Exception::custom("the step gave no moments")));
        };
        *state = State { adapters: outputs.collect(), moments: Moments { m, v } };
        Ok(loss)
    }

    /// Loss without training.
    pub fn evaluate(&self, adapters: &[Array], batch: &Batch) -> Result<Loss> {
        let values = loss_values(&self.model, &self.log, adapters, batch);
        let (mean, tokens) = values.map_err(|error| self.blame(error))?;
        loss_of(Some(mean), Some(tokens))
    }

    /// Gradients of the loss for each adapter array.
    pub fn gradients(&self, adapters: &[Array], batch: &Batch) -> Result<Vec<Array>> {
        let mut function = gradient_function(Rc::clone(&self.model), Rc::clone(&self.log), self.parameters);
        let mut arguments = adapters.to_vec();
        arguments.extend([batch.tokens.clone(), batch.lengths.clone()]);
        let (_, gradients) = function(&arguments).map_err(|error| self.blame(error))?;
        eval(&gradients).map_err(|error| self.blame(error))?;
        Ok(gradients)
    }

    /// Logits at the last position of the batch's inputs, `[batch, vocabulary]`.
    pub fn last_logits(&self, adapters: &[Array], batch: &Batch) -> Result<Array> {
        let logits = inputs_of(&batch.tokens)
            .and_then(|inputs| self.model.forward(&inputs, &Adapters::new(adapters, &self.log)))
            .and_then(|logits| logits.try_index((Ellipsis, -1, ..)));
        logits.map_err(|error| self.blame(error))
    }

    /// The kernel's own error if that is what lies behind `error`.
    fn blame(&self, error: Exception) -> Error {
        match self.log.take_failure() {
            Some((layer, message)) => Error::Kernel { layer, message },
            None => Error::Mlx(error),
        }
    }
}

/// All elements of all arrays, end to end.
fn join(arrays: &[Array]) -> MlxResult<Array> {
    let flat = arrays.iter().map(|array| array.reshape(&[-1])).collect::<MlxResult<Vec<_>>>()?;
    ops::concatenate(&flat, 0)
}

/// The opposite of [`join`]: parts of `joined` with the shapes of `like`.
fn part(joined: &Array, like: &[Array]) -> MlxResult<Vec<Array>> {
    let mut start = 0;
    let parts = like.iter().map(|like| {
        let end = start + like.size() as i32;
        let part = joined.try_index(start..end)?.reshape(like.shape());
        start = end;
        part
    });
    parts.collect()
}

type Gradients = Box<dyn FnMut(&[Array]) -> MlxResult<(Vec<Array>, Vec<Array>)>>;

/// (adapters, tokens, lengths) to ((loss, tokens), gradients of the adapters).
fn gradient_function(model: Rc<Qwen2>, log: Rc<KernelLog>, parameters: usize) -> Gradients {
    Box::new(move |arguments| {
        let count = i32::try_from(parameters).map_err(|_| Exception::custom("too many adapters"))?;
        let numbers: Vec<i32> = (0..count).collect();
        let loss = |arguments: &[Array]| -> MlxResult<Vec<Array>> {
            let (adapters, rest) = arguments.split_at(parameters);
            let [tokens, lengths] = rest else { return Err(Exception::custom("a loss takes two arrays")) };
            let batch = Batch { tokens: tokens.clone(), lengths: lengths.clone() };
            let (mean, tokens) = loss_values(&model, &log, adapters, &batch)?;
            Ok(vec![mean, tokens])
        };
        value_and_grad_with_argnums(loss, numbers.as_slice())(arguments)
    })
}

/// MLX-LM's loss of a batch: every token is predicted from those before it.
fn loss_values(
    model: &Qwen2,
    log: &KernelLog,
    adapters: &[Array],
    batch: &Batch,
) -> MlxResult<(Array, Array)> {
    let logits = model.forward(&inputs_of(&batch.tokens)?, &Adapters::new(adapters, log))?;
    let targets = batch.tokens.try_index((.., 1..))?;
    masked_cross_entropy(&logits, &targets, &batch.lengths)
}

fn inputs_of(tokens: &Array) -> MlxResult<Array> {
    tokens.try_index((.., ..-1))
}

fn loss_of(mean: Option<Array>, tokens: Option<Array>) -> Result<Loss> {
    let (Some(mean), Some(tokens)) = (mean, tokens) else {
        return Err(Error::Mlx(Exception::custom("the step gave no loss")));
    };
    let tokens = tokens.try_item_cast::<i64>()?;
    Ok(Loss { mean: f64::from(mean.try_item_cast::<f32>()?), tokens: u64::try_from(tokens).unwrap_or(0) })
}
