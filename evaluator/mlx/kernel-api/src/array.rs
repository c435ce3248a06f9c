//! The array itself; what can be done with it is in the modules beside this one.

use std::fmt;

use crate::{Dtype, Error, Result};

/// An n-dimensional array. Computation is lazy, so clones and unused results cost nothing.
///
/// `+ - * /` work between arrays (by value or reference, shapes broadcast as in NumPy) and between an array and an `f32`
/// on either side, which takes the array's own type if that is a float, so that half precision stays half. `-array`
/// negates. These operators panic where the method of the same meaning ([`Array::add`] and so on) returns an error.
#[derive(Clone)]
pub struct Array {
    pub(crate) inner: mlx_rs::Array,
}

impl Array {
    /// A `Float32` array of these values, in row-major order. Errors if their number doesn't fit the shape.
    pub fn from_slice(values: &[f32], shape: &[i32]) -> Result<Self> {
        check_size(values.len(), shape)?;
        Ok(Self { inner: mlx_rs::Array::from_slice(values, shape) })
    }

    /// The same of type `Uint32`, which packed weights have.
    pub fn from_u32(values: &[u32], shape: &[i32]) -> Result<Self> {
        check_size(values.len(), shape)?;
        Ok(Self { inner: mlx_rs::Array::from_slice(values, shape) })
    }

    /// A number without dimensions, shape `[]`.
    pub fn scalar(value: f32, dtype: Dtype) -> Result<Self> {
        Ok(Self { inner: mlx_rs::Array::from_f32(value).as_dtype(dtype.into())? })
    }

    /// Length of each dimension.
    pub fn shape(&self) -> &[i32] {
        self.inner.shape()
    }

    /// Number of dimensions.
    pub fn ndim(&self) -> usize {
        self.inner.ndim()
    }

    /// Length of one dimension. Everywhere, negative axes count from the end, and missing ones are errors.
    pub fn dim(&self, axis: i32) -> Result<i32> {
        Ok(self.shape()[axis_index(axis, self.ndim())?])
    }

    /// Number of elements.
    pub fn size(&self) -> usize {
        self.inner.size()
    }

    /// Type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.inner.dtype().into()
    }

    /// Converts to another type. The same type costs nothing.
    pub fn astype(&self, dtype: Dtype) -> Result<Self> {
        Ok(Self { inner: self.inner.as_dtype(dtype.into())? })
    }

    /// The same values; gradients stop here.
    pub fn stop_gradient(&self) -> Result<Self> {
        Ok(Self { inner: mlx_rs::stop_gradient(&self.inner)? })
    }

    /// Computes the array now instead of when it is needed. For what `build` prepares; in `forward` it
    /// would keep MLX from ordering the whole step, and fail while a step is traced.
    pub fn eval(&self) -> Result<()> {
        Ok(self.inner.eval()?)
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Array({:?}, {:?})", self.shape(), self.dtype())
    }
}

/// The place of an axis that may count from the end.
pub(crate) fn axis_index(axis: i32, ndim: usize) -> Result<usize> {
    let from_start = if axis < 0 { axis + ndim as i32 } else { axis };
    usize::try_from(from_start)
        .ok()
        .filter(|index| *index < ndim)
        .ok_or_else(|| Error::new(format!("there is no axis {axis} in an array of {ndim} dimensions")))
}

fn check_size(values: usize, shape: &[i32]) -> Result<()> {
    let size =
        shape.iter().try_fold(1_usize, |size, length| size.checked_mul(usize::try_from(*length).ok()?));
    if size == Some(values) {
        Ok(())
    } else {
        Err(Error::new(format!("{values} values don't fill shape {shape:?}")))
    }
}
