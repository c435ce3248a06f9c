//! Rearranging arrays.

use mlx_rs::ops as mlx;

use crate::array::axis_index;
use crate::{Array, Error, Result};

impl Array {
    /// The same elements in another shape; one length may be -1. Errors if the sizes differ.
    pub fn reshape(&self, shape: &[i32]) -> Result<Self> {
        Ok(Self { inner: self.inner.reshape(shape)? })
    }

    /// Reverses the order of the axes.
    pub fn t(&self) -> Result<Self> {
        Ok(Self { inner: self.inner.transpose()? })
    }

    /// Reorders the axes: axis `i` of the result is `axes[i]` of this one. Costs nothing; `matmul` reads either layout.
    pub fn transpose(&self, axes: &[i32]) -> Result<Self> {
        Ok(Self { inner: self.inner.transpose_axes(axes)? })
    }

    /// Exchanges two axes.
    pub fn swap_axes(&self, first: i32, second: i32) -> Result<Self> {
        Ok(Self { inner: self.inner.swap_axes(first, second)? })
    }

    /// Joins the axes from `start` to `end`, both included, into one.
    pub fn flatten(&self, start: i32, end: i32) -> Result<Self> {
        Ok(Self { inner: self.inner.flatten(start, end)? })
    }

    /// Inserts an axis of length 1.
    pub fn expand_dims(&self, axis: i32) -> Result<Self> {
        Ok(Self { inner: self.inner.expand_dims(axis)? })
    }

    /// Removes axes of length 1. Errors if one is longer.
    pub fn squeeze(&self, axes: &[i32]) -> Result<Self> {
        Ok(Self { inner: self.inner.squeeze_axes(axes)? })
    }

    /// Repeats without copying, to a shape that this one broadcasts to.
    pub fn broadcast_to(&self, shape: &[i32]) -> Result<Self> {
        Ok(Self { inner: mlx::broadcast_to(&self.inner, shape)? })
    }

    /// `parts` equal pieces along `axis`. Errors if they can't be equal.
    pub fn split(&self, parts: i32, axis: i32) -> Result<Vec<Self>> {
        Ok(self.inner.split_equal(parts, axis)?.into_iter().map(|inner| Self { inner }).collect())
    }

    /// The elements from `start` up to, not including, `end` along `axis`. Errors if they lie outside.
    pub fn slice(&self, axis: i32, start: i32, end: i32) -> Result<Self> {
        let length = self.shape()[axis_index(axis, self.ndim())?];
        if start < 0 || end < start || end > length {
            return Err(Error::new(format!("slice {start}..{end} of an axis of length {length}")));
        }
        if (start, end) == (0, length) {
            return Ok(self.clone());
        }
        let mut pieces = self.inner.split_at_indices(&[start, end], axis)?;
        if pieces.len() != 3 {
            return Err(Error::new(format!("slice {start}..{end} came in {} pieces", pieces.len())));
        }
        Ok(Self { inner: pieces.swap_remove(1) })
    }

    /// The elements at `indices` (integers) along `axis`.
    pub fn take(&self, indices: &Self, axis: i32) -> Result<Self> {
        Ok(Self { inner: self.inner.take_axis(&indices.inner, axis)? })
    }

    /// The same elements, laid out in row-major order in memory. Copies if they aren't.
    pub fn contiguous(&self) -> Result<Self> {
        Ok(Self { inner: self.inner.contiguous()? })
    }
}
