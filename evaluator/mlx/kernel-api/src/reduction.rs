//! Reductions over axes.

use mlx_rs::ops as mlx;

use crate::{Array, Result};

impl Array {
    /// The sum over `axes` (`&[]`: over all). `keep_dims` leaves the reduced axes with length 1.
    pub fn sum(&self, axes: &[i32], keep_dims: bool) -> Result<Self> {
        let inner = match axes {
            [] => self.inner.sum(keep_dims)?,
            axes => self.inner.sum_axes(axes, keep_dims)?,
        };
        Ok(Self { inner })
    }

    /// The mean over `axes`.
    pub fn mean(&self, axes: &[i32], keep_dims: bool) -> Result<Self> {
        let inner = match axes {
            [] => self.inner.mean(keep_dims)?,
            axes => self.inner.mean_axes(axes, keep_dims)?,
        };
        Ok(Self { inner })
    }

    /// The largest element over `axes`.
    pub fn max(&self, axes: &[i32], keep_dims: bool) -> Result<Self> {
        let inner = match axes {
            [] => self.inner.max(keep_dims)?,
            axes => self.inner.max_axes(axes, keep_dims)?,
        };
        Ok(Self { inner })
    }

    /// The smallest element over `axes`.
    pub fn min(&self, axes: &[i32], keep_dims: bool) -> Result<Self> {
        let inner = match axes {
            [] => self.inner.min(keep_dims)?,
            axes => self.inner.min_axes(axes, keep_dims)?,
        };
        Ok(Self { inner })
    }

    /// `ln Σ e^self` over `axes`, without overflow.
    pub fn logsumexp(&self, axes: &[i32], keep_dims: bool) -> Result<Self> {
        let inner = match axes {
            [] => self.inner.logsumexp(keep_dims)?,
            axes => self.inner.logsumexp_axes(axes, keep_dims)?,
        };
        Ok(Self { inner })
    }

    /// `e^self` divided by its sum over `axis`.
    pub fn softmax(&self, axis: i32) -> Result<Self> {
        Ok(Self { inner: mlx::softmax_axis(&self.inner, axis, None)? })
    }
}
