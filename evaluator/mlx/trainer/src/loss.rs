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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of four positions over a vocabulary of three.
    fn logits() -> Array {
        let rows = [
            [1.0, 2.0, 0.5],
            [0.0, 0.0, 0.0],
            [3.0, -1.0, 0.0],
            [0.5, 0.5, 2.0],
            [0.0, 1.0, 2.0],
            [2.0, 1.0, 0.0],
            [1.0, 1.0, 1.0],
            [-1.0, 0.0, 1.0],
        ];
        Array::from_slice(rows.as_flattened(), &[2, 4, 3])
    }

    fn by_hand(row: [f64; 3], target: usize) -> f64 {
        row.iter().map(|logit| logit.exp()).sum::<f64>().ln() - row[target]
    }

    #[test]
    fn only_targets_from_offset_to_length_count_both_ends_included() {
        let targets = Array::from_slice(&[1, 2, 0, 2, 2, 1, 0, 0], &[2, 4]);
        let lengths = Array::from_slice(&[0, 5, 2, 3], &[2, 2]);
        let (mean, tokens) = masked_cross_entropy(&logits(), &targets, &lengths).unwrap();
        // The first row counts whole; of the second, targets number two and three.
        let counted = [
            by_hand([1.0, 2.0, 0.5], 1),
            by_hand([0.0, 0.0, 0.0], 2),
            by_hand([3.0, -1.0, 0.0], 0),
            by_hand([0.5, 0.5, 2.0], 2),
            by_hand([2.0, 1.0, 0.0], 1),
            by_hand([1.0, 1.0, 1.0], 0),
        ];
        assert_eq!(tokens.item_cast::<i32>(), 6);
        let expected = counted.iter().sum::<f64>() / 6.0;
        assert!((f64::from(mean.item_exact::<f32>()) - expected).abs() < 1e-6);
        // What MLX-LM 0.32.2 gives for the same arrays.
        assert!((mean.item_exact::<f32>() - 0.750_677).abs() < 1e-6);
    }

    #[test]
    fn half_precision_logits_give_a_float32_loss() {
        let targets = Array::from_slice(&[1, 2, 0, 2, 2, 1, 0, 0], &[2, 4]);
        let lengths = Array::from_slice(&[0, 5, 0, 5], &[2, 2]);
        let half = logits().as_dtype(Dtype::Bfloat16).unwrap();
        let (mean, tokens) = masked_cross_entropy(&half, &targets, &lengths).unwrap();
        assert_eq!((mean.dtype(), tokens.item_cast::<i32>()), (Dtype::Float32, 8));
    }
}
