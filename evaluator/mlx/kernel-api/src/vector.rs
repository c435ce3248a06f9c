//! A list of arrays on MLX's side.
#![expect(unsafe_code, reason = "mlx-c's interface")]

use mlx_sys::mlx_vector_array;

use crate::{Array, Error, Result};

/// A list of ours, freed with this.
pub(crate) struct Vector(mlx_vector_array);

impl Vector {
    /// An empty place for a list.
    pub(crate) fn new() -> Self {
        // SAFETY: makes an empty handle.
        Self(unsafe { mlx_sys::mlx_vector_array_new() })
    }

    /// These arrays.
    pub(crate) fn of<'a>(arrays: impl Iterator<Item = &'a Array>) -> Self {
        let handles: Vec<_> = arrays.map(|array| array.inner.as_ptr()).collect();
        // SAFETY: MLX copies the references; the arrays outlive this call.
        Self(unsafe { mlx_sys::mlx_vector_array_new_data(handles.as_ptr(), handles.len()) })
    }

    /// For MLX to read.
    pub(crate) fn handle(&self) -> mlx_vector_array {
        self.0
    }

    /// For MLX to write to.
    pub(crate) fn place(&mut self) -> *mut mlx_vector_array {
        &raw mut self.0
    }

    /// For MLX to keep: whoever takes this frees it.
    pub(crate) fn into_handle(self) -> mlx_vector_array {
        std::mem::ManuallyDrop::new(self).0
    }

    pub(crate) fn arrays(&self) -> Result<Vec<Array>> {
        // SAFETY: the list is valid.
        unsafe { arrays(self.0) }
    }
}

impl Drop for Vector {
    fn drop(&mut self) {
        // SAFETY: the handle is ours.
        unsafe { mlx_sys::mlx_vector_array_free(self.0) };
    }
}

/// The arrays of a list that is somebody else's.
///
/// # Safety
/// `list` is a valid list.
pub(crate) unsafe fn arrays(list: mlx_vector_array) -> Result<Vec<Array>> {
    // SAFETY: as promised by the caller; each array gets a handle of its own, which `from_ptr` takes over.
    unsafe {
        (0..mlx_sys::mlx_vector_array_size(list))
            .map(|index| {
                let mut handle = mlx_sys::mlx_array_new();
                let status = mlx_sys::mlx_vector_array_get(&raw mut handle, list, index);
                let inner = mlx_rs::Array::from_ptr(handle);
                if status == 0 { Ok(Array { inner }) } else { Err(Error::new("MLX lost an array")) }
            })
            .collect()
    }
}
