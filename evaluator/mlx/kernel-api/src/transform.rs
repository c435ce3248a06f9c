//! Functions of arrays, transformed: compiled, or with their own way of computing gradients.

use std::cell::RefCell;

use crate::{Array, Error, Result};

mod closure;

pub(crate) use closure::take_failure;

/// What [`compile`], [`checkpoint`] and [`custom_vjp`] return. Make it once, in `build`; making it costs time.
pub struct Function {
    kind: Kind,
}

type CompiledFunction = dyn FnMut(&[mlx_rs::Array]) -> mlx_rs::error::Result<Vec<mlx_rs::Array>>;

enum Kind {
    Compiled(RefCell<Box<CompiledFunction>>),
    Transformed(closure::Transformed),
}

impl Function {
    /// Calls the function. Errors and panics inside it come out here.
    pub fn call(&self, inputs: &[&Array]) -> Result<Vec<Array>> {
        match &self.kind {
            Kind::Compiled(function) => {
                let inputs: Vec<mlx_rs::Array> = inputs.iter().map(|input| input.inner.clone()).collect();
                let mut function =
                    function.try_borrow_mut().map_err(|_| Error::new("a compiled function called itself"))?;
                let outputs = function(&inputs)
                    .map_err(|exception| closure::kept_error().unwrap_or(exception.into()))?;
                Ok(outputs.into_iter().map(|inner| Array { inner }).collect())
            }
            Kind::Transformed(function) => function.call(inputs),
        }
    }
}

/// Traces the function once for each set of input shapes and types, and fuses elementwise operations (not matrix
/// products). Inside a computation of gradients, or inside another compiled function, it runs as it
/// is. On the CPU this needs `g++` at run time and costs seconds the first time. The function must be pure.
pub fn compile(function: impl Fn(&[Array]) -> Result<Vec<Array>> + 'static) -> Function {
    let function = move |inputs: &[mlx_rs::Array]| -> mlx_rs::error::Result<Vec<mlx_rs::Array>> {
        let inputs: Vec<Array> = inputs.iter().map(|inner| Array { inner: inner.clone() }).collect();
        match function(&inputs) {
            Ok(outputs) => Ok(outputs.into_iter().map(|output| output.inner).collect()),
            Err(error) => {
                // MLX's compiler passes on only that there was an error.
                let exception = mlx_rs::error::Exception::custom(error.to_string());
                closure::keep_error(error);
                Err(exception)
            }
        }
    };
    let mut compiled = mlx_rs::transforms::compile::compile(function, false);
    Function { kind: Kind::Compiled(RefCell::new(Box::new(move |inputs| compiled(inputs)))) }
}

/// Saves memory: what the function computes on its way is not kept for the gradients but computed again.
/// Gradients flow to the inputs only, so pass `x`, `lora_a` and `lora_b` as inputs.
pub fn checkpoint(function: impl Fn(&[Array]) -> Result<Vec<Array>> + 'static) -> Result<Function> {
    Ok(Function { kind: Kind::Transformed(closure::Transformed::checkpoint(Box::new(function))?) })
}

/// Gives a function gradients of your own. `vjp(inputs, cotangents, outputs)` returns one gradient for each input, of its
/// shape and type; `cotangents` are the gradients with respect to the outputs. Gradients flow to the inputs only.
pub fn custom_vjp(
    function: impl Fn(&[Array]) -> Result<Vec<Array>> + 'static,
    vjp: impl Fn(&[Array], &[Array], &[Array]) -> Result<Vec<Array>> + 'static,
) -> Result<Function> {
    let transformed = closure::Transformed::custom_vjp(Box::new(function), Box::new(vjp))?;
    Ok(Function { kind: Kind::Transformed(transformed) })
}

/// The same arrays, for a kernel to compute with; what flows back to any of them goes on only when it is there for all. By
/// itself MLX may leave the adapter's gradients to the end and keep what they need of every layer, so holding `x`, `lora_a` and
/// `lora_b` together at the start of `forward` saves memory.
pub fn gradients_together(arrays: &[&Array]) -> Result<Vec<Array>> {
    let same = |arrays: &[Array]| Ok(arrays.to_vec());
    custom_vjp(same, |_, cotangents, _| closure::together(cotangents))?.call(arrays)
}
