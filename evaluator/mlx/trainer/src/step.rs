//! One optimizer step: loss, gradients of the adapters, update.

use std::rc::Rc;

use mlx_rs::Array;
use mlx_rs::error::{Exception, Result as MlxResult};
use mlx_rs::ops::indexing::{Ellipsis, TryIndexOp};
use mlx_rs::transforms::compile::compile;
use mlx_rs::transforms::{eval, value_and_grad_with_argnums};
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
    /// One per adapter array.
    pub moments: Vec<Moments>,
}

impl State {
    /// A fresh optimizer for `adapters`, all evaluated.
    pub fn new(adapters: Vec<Array>) -> Result<Self> {
        let moments = adapters.iter().map(Moments::new).collect::<MlxResult<Vec<_>>>()?;
        let state = Self { adapters, moments };
        eval(state.arrays())?;
        Ok(state)
    }

    fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.adapters.iter().chain(self.moments.iter().flat_map(|moments| [&moments.m, &moments.v]))
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Execution {
    /// Operation by operation.
    #[default]
    Direct,
    /// Through `mx.compile`, which fuses elementwise operations; on the CPU backend it calls `g++` once per shape.
    Compiled,
}

type ArraysToArrays = Box<dyn FnMut(&[Array]) -> MlxResult<Vec<Array>>>;

/// The training step of one model with fixed settings.
pub struct Step {
    model: Rc<Qwen2>,
    log: Rc<KernelLog>,
    /// (adapters, m, v, tokens, lengths, rate) to (loss, tokens, adapters, m, v).
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
            let (state, rest) = inputs.split_at(3 * parameters);
            let [tokens, lengths, rate] = rest else {
                return Err(Exception::custom("a step takes three arrays"));
            };
            let mut arguments = state[..parameters].to_vec();
            arguments.extend([tokens.clone(), lengths.clone()]);
            let (values, gradients) = gradients(&arguments)?;
            drop(arguments);
            let mut outputs = values;
            let mut moments = (Vec::new(), Vec::new());
            for (index, gradient) in gradients.iter().enumerate() {
                let before = Moments {
                    m: state[parameters + index].clone(),
                    v: state[2 * parameters + index].clone(),
                };
                let (parameter, after) = update(optimizer, rate, &state[index], gradient, &before)?;
                outputs.push(parameter);
                moments.0.push(after.m);
                moments.1.push(after.v);
            }
            outputs.extend(moments.0);
            outputs.extend(moments.1);
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
        inputs.extend(state.moments.iter().map(|moments| moments.m.clone()));
        inputs.extend(state.moments.iter().map(|moments| moments.v.clone()));
        inputs.extend([batch.tokens.clone(), batch.lengths.clone(), self.rate.clone()]);
        let outputs = (self.run)(&inputs).and_then(|outputs| eval(&outputs).map(|()| outputs));
        let mut outputs = outputs.map_err(|error| self.blame(error))?.into_iter();
        let loss = loss_of(outputs.next(), outputs.next())?;
        state.adapters = outputs.by_ref().take(self.parameters).collect();
        let m: Vec<_> = outputs.by_ref().take(self.parameters).collect();
        state.moments = m.into_iter().zip(outputs).map(|(m, v)| Moments { m, v }).collect();
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
