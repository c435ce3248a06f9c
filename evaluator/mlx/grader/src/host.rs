//! Arrays as plain numbers in memory, and back.
#![expect(
    unsafe_code,
    reason = "mlx-rs reads arrays of half precision only through types that it doesn't export"
)]

use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, Dtype as MlxDtype};
use trial_protocol::Dtype;

/// MLX's name of a type.
pub fn mlx_dtype(dtype: Dtype) -> MlxDtype {
    match dtype {
        Dtype::Float32 => MlxDtype::Float32,
        Dtype::Float16 => MlxDtype::Float16,
        Dtype::Bfloat16 => MlxDtype::Bfloat16,
    }
}

/// Rounds to the type and gives its bytes, little-endian.
pub fn to_bytes(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::Float32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Dtype::Float16 => values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect(),
        Dtype::Bfloat16 => {
            values.iter().flat_map(|&value| half::bf16::from_f32(value).to_le_bytes()).collect()
        }
    }
}

/// The numbers that bytes stand for.
pub fn from_bytes(bytes: &[u8], dtype: Dtype) -> Vec<f32> {
    let pairs = || bytes.as_chunks::<2>().0.iter().copied();
    match dtype {
        Dtype::Float32 => bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::Float16 => pairs().map(|bytes| half::f16::from_le_bytes(bytes).to_f32()).collect(),
        Dtype::Bfloat16 => pairs().map(|bytes| half::bf16::from_le_bytes(bytes).to_f32()).collect(),
    }
}

/// An array of its own memory with these bytes.
///
/// # Panics
/// If they aren't as many as the shape takes.
pub fn array(bytes: &[u8], shape: &[i32], dtype: MlxDtype) -> Array {
    let size: usize = shape.iter().map(|&length| length as usize).product();
    assert_eq!(bytes.len(), size * item_size(dtype), "bytes of {shape:?}");
    // SAFETY: the bytes are as many as the shape takes; MLX copies them.
    unsafe { Array::from_raw_data(bytes.as_ptr().cast(), shape, dtype) }
}

/// Evaluates an array and copies it, row-major.
pub fn bytes(array: &Array) -> Result<Vec<u8>> {
    let array = array.contiguous()?;
    array.eval()?;
    // SAFETY: evaluated just now, and nothing else knows this array.
    let bytes = unsafe { memory(&array) }.ok_or_else(|| Exception::custom("an array without memory"))?;
    Ok(bytes.to_vec())
}

/// Writes other values into the memory of an evaluated array.
///
/// # Panics
/// If they aren't as many.
///
/// # Safety
/// The array was made by [`array()`], and nothing computes with it now.
pub unsafe fn overwrite(array: &Array, bytes: &[u8]) {
    assert_eq!(array.nbytes(), bytes.len(), "bytes to overwrite with");
    // SAFETY: the memory is MLX's own, as large as asserted, and as promised nobody reads it.
    unsafe {
        let memory = mlx_sys::mlx_array_data_uint8(array.as_ptr()).cast_mut();
        assert!(!memory.is_null() || bytes.is_empty(), "an array without memory");
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory, bytes.len());
    }
}

/// The memory of an evaluated row-major array; `None` if it has none.
///
/// # Safety
/// The array is evaluated and row-major, and nobody writes to it while the slice lives.
pub unsafe fn memory(array: &Array) -> Option<&[u8]> {
    if array.nbytes() == 0 {
        return Some(&[]);
    }
    // SAFETY: mlx-c casts the pointer to the array's memory, whatever its type is.
    unsafe {
        let data = mlx_sys::mlx_array_data_uint8(array.as_ptr());
        (!data.is_null()).then(|| std::slice::from_raw_parts(data, array.nbytes()))
    }
}

/// An evaluated copy of an array as numbers.
pub fn numbers(array: &Array) -> Result<Vec<f64>> {
    let array = if array.dtype() == MlxDtype::Float64 {
        array.clone()
    } else {
        return Ok(from_bytes(&bytes(&array.as_dtype(MlxDtype::Float32)?)?, Dtype::Float32)
            .into_iter()
            .map(f64::from)
            .collect());
    };
    Ok(bytes(&array)?.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
}

fn item_size(dtype: MlxDtype) -> usize {
    match dtype {
        MlxDtype::Bool | MlxDtype::Uint8 | MlxDtype::Int8 => 1,
        MlxDtype::Uint16 | MlxDtype::Int16 | MlxDtype::Float16 | MlxDtype::Bfloat16 => 2,
        MlxDtype::Uint32 | MlxDtype::Int32 | MlxDtype::Float32 => 4,
        MlxDtype::Uint64 | MlxDtype::Int64 | MlxDtype::Float64 | MlxDtype::Complex64 => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_way_through_mlx_in_every_type() {
        let values = [0.5_f32, -1.25, 3.0, -0.007_812_5, 100.0, 0.0];
        for dtype in [Dtype::Float32, Dtype::Float16, Dtype::Bfloat16] {
            let bytes = to_bytes(&values, dtype);
            let made = array(&bytes, &[2, 3], mlx_dtype(dtype));
            assert_eq!(super::bytes(&made).unwrap(), bytes);
            assert_eq!(from_bytes(&bytes, dtype), values);
            let transposed = numbers(&made.t()).unwrap();
            assert_eq!(transposed, [0.5, -0.007_812_5, -1.25, 100.0, 3.0, 0.0]);
        }
    }

    #[test]
    fn an_array_is_overwritten_where_it_lies() {
        let made = array(&to_bytes(&[1.0, 2.0], Dtype::Float32), &[2], MlxDtype::Float32);
        let twice = mlx_rs::ops::add(&made, &made).unwrap();
        twice.eval().unwrap();
        // SAFETY: nothing is being computed.
        unsafe { overwrite(&made, &to_bytes(&[5.0, 7.0], Dtype::Float32)) };
        assert_eq!(numbers(&made).unwrap(), [5.0, 7.0]);
        assert_eq!(numbers(&twice).unwrap(), [2.0, 4.0], "what was computed stays");
    }
}
