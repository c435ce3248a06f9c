//! MLX-LM's `default_loss`.

use mlx_rs::error::Result;
use mlx_rs::{Array, Dtype, ops, stop_gradient};

/// Mean cross-entropy over the target tokens that count, and how many those are.
///
/// `logits` is `[batch, length, vocabulary]`, `targets` `[batch, length]` and `lengths` `[batch, 2]` of
/// `(offset, length)`: with targets numbered from 1, those from `offset` to `length` count, both included.
/// (A row of `length` tokens has `length - 1` targets; the one after its end is a padding zero and counts
/// where the batch is wide enough to hold it. That is MLX-LM's convention, kept as it is.)
///
/// Returns a float32 and an int32 scalar.
pub fn masked_cross_entropy(logits: &Array, targets: &Array, lengths: &Array) -> Result<(Array, Array)> {
    let length = targets.shape()[1];
    let steps = Array::arange::<_, i32>(1, length + 1, None)?;
    let offset = lengths.take_axis(Array::from_slice(&[0], &[1]), 1)?;
    let end = lengths.take_axis(Array::from_slice(&[1], &[1]), 1)?;
    let mask = steps.ge(&offset)?.logical_and(steps.le(&end)?)?;

    let each = cross_entropy(logits, targets)?.multiply(&mask)?;
    let tokens = mask.sum(None)?;
    let mean = each.as_dtype(Dtype::Float32)?.sum(None)?.divide(&tokens)?;
    Ok((mean, tokens))
}

/// Negative log-likelihood of each target, in the dtype of `logits`.
fn cross_entropy(logits: &Array, targets: &Array) -> Result<Array> {
    let shifted = logits.subtract(stop_gradient(logits.max_axis(-1, true)?)?)?;
    let score = shifted.take_along_axis(ops::expand_dims(targets, -1)?, -1)?.squeeze_axes(&[-1])?;
    shifted.logsumexp_axis(-1, None)?.subtract(score)
}
