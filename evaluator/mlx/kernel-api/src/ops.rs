//! Operations that aren't methods of an array.

use mlx_rs::ops as mlx;

use crate::{Array, Dtype, Result};

/// `x · weightᵀ` (`transpose`) or `x · weight` (not) without unpacking the weight as a whole: `[..., n, input] →
/// [..., n, output]` or `[..., n, output] → [..., n, input]`. `scales` and `biases` must have the type of `x`.
/// Gradients flow to `x` only.
pub fn quantized_matmul(
    x: &Array,
    packed: &Array,
    scales: &Array,
    biases: &Array,
    transpose: bool,
    group_size: i32,
    bits: i32,
) -> Result<Array> {
    let (packed, scales) = (&packed.inner, &scales.inner);
    let inner = mlx::quantized_matmul(&x.inner, packed, scales, &biases.inner, transpose, group_size, bits)?;
    Ok(Array { inner })
}

/// Unpacks a quantized weight: `[output, input]`, of the scales' type.
pub fn dequantize(
    packed: &Array,
    scales: &Array,
    biases: &Array,
    group_size: i32,
    bits: i32,
) -> Result<Array> {
    Ok(Array { inner: mlx::dequantize(&packed.inner, &scales.inner, &biases.inner, group_size, bits)? })
}

/// Quantizes a weight `[output, input]`: packed, scales, biases. `group_size` is 32, 64 or 128 and divides `input`;
/// `bits` is 2, 3, 4, 5, 6 or 8.
pub fn quantize(weight: &Array, group_size: i32, bits: i32) -> Result<(Array, Array, Array)> {
    let (packed, scales, biases) = mlx::quantize(&weight.inner, group_size, bits)?;
    Ok((Array { inner: packed }, Array { inner: scales }, Array { inner: biases }))
}

/// `beta · c + alpha · (a · b)`, in one step. `c` broadcasts to the product.
pub fn addmm(c: &Array, a: &Array, b: &Array, alpha: f32, beta: f32) -> Result<Array> {
    Ok(Array { inner: mlx::addmm(&c.inner, &a.inner, &b.inner, alpha, beta)? })
}

/// Einstein summation: `einsum("bli,oi->blo", &[&x, &weight])`.
pub fn einsum(subscripts: &str, operands: &[&Array]) -> Result<Array> {
    Ok(Array { inner: mlx::einsum(subscripts, operands.iter().map(|operand| &operand.inner))? })
}

/// `a · bᵀ` of two vectors: `[n], [m] → [n, m]`.
pub fn outer(a: &Array, b: &Array) -> Result<Array> {
    Ok(Array { inner: mlx::outer(&a.inner, &b.inner)? })
}

/// Joins arrays along an existing axis.
pub fn concatenate(arrays: &[&Array], axis: i32) -> Result<Array> {
    Ok(Array { inner: mlx::concatenate(&inner(arrays), axis)? })
}

/// Joins arrays of one shape along a new axis.
pub fn stack(arrays: &[&Array], axis: i32) -> Result<Array> {
    Ok(Array { inner: mlx::stack(&inner(arrays), axis)? })
}

/// Takes from `a` where `condition` holds, else from `b`.
pub fn select(condition: &Array, a: &Array, b: &Array) -> Result<Array> {
    Ok(Array { inner: mlx::select(&condition.inner, &a.inner, &b.inner)? })
}

/// All 0.
pub fn zeros(shape: &[i32], dtype: Dtype) -> Result<Array> {
    Ok(Array { inner: mlx::zeros_dtype(shape, dtype.into())? })
}

/// All 1.
pub fn ones(shape: &[i32], dtype: Dtype) -> Result<Array> {
    Ok(Array { inner: mlx::ones_dtype(shape, dtype.into())? })
}

/// The same number everywhere.
pub fn full(shape: &[i32], value: f32, dtype: Dtype) -> Result<Array> {
    Ok(Array { inner: mlx::broadcast_to(&Array::scalar(value, dtype)?.inner, shape)? })
}

/// `start, start + 1, …` up to, not including, `end`, as `Int32`.
pub fn arange(start: i32, end: i32) -> Result<Array> {
    Ok(Array { inner: mlx::arange::<i32, i32>(start, end, None)? })
}

fn inner<'a>(arrays: &[&'a Array]) -> Vec<&'a mlx_rs::Array> {
    arrays.iter().map(|array| &array.inner).collect()
}
