//! Operations against small values worked out by hand.
#![expect(unsafe_code, reason = "tests look inside arrays")]
#![expect(clippy::unwrap_used, reason = "a test may")]

use kernel_api::{Array, Dtype, Error, Result, host, ops};

fn row(values: &[f32]) -> Array {
    Array::from_slice(values, &[values.len() as i32]).unwrap()
}

fn matrix(rows: &[&[f32]]) -> Array {
    Array::from_slice(&rows.concat(), &[rows.len() as i32, rows[0].len() as i32]).unwrap()
}

#[track_caller]
fn assert_close(actual: &Array, shape: &[i32], expected: &[f32]) {
    assert_eq!(actual.shape(), shape);
    let actual = actual.astype(Dtype::Float32).unwrap().contiguous().unwrap();
    let actual = unsafe { host::into_mlx(actual) };
    actual.eval().unwrap();
    let actual = actual.as_slice::<f32>();
    let close = actual.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(close && actual.len() == expected.len(), "{actual:?}, not {expected:?}");
}

#[test]
fn arithmetic_broadcasts() -> Result<()> {
    let a = matrix(&[&[1.0, 2.0], &[3.0, 4.0]]);
    let b = row(&[10.0, 20.0]);
    assert_close(&a.add(&b)?, &[2, 2], &[11.0, 22.0, 13.0, 24.0]);
    assert_close(&a.subtract(&b)?, &[2, 2], &[-9.0, -18.0, -7.0, -16.0]);
    assert_close(&(&a * &b), &[2, 2], &[10.0, 40.0, 30.0, 80.0]);
    assert_close(&(b.clone() / a.clone()), &[2, 2], &[10.0, 10.0, 10.0 / 3.0, 5.0]);
    assert_close(&a.maximum(&row(&[2.0, 3.0]))?, &[2, 2], &[2.0, 3.0, 3.0, 4.0]);
    assert_close(&a.minimum(&row(&[2.0, 3.0]))?, &[2, 2], &[1.0, 2.0, 2.0, 3.0]);
    assert_close(&a.power(&row(&[2.0, 0.5]))?, &[2, 2], &[1.0, 2.0_f32.sqrt(), 9.0, 2.0]);
    assert_close(&row(&[7.0, -7.0]).floor_divide(&row(&[2.0, 2.0]))?, &[2], &[3.0, -4.0]);
    assert_close(&row(&[7.0, -7.0]).remainder(&row(&[3.0, 3.0]))?, &[2], &[1.0, 2.0]);
    Ok(())
}

#[test]
fn numbers_beside_an_array_keep_its_type() -> Result<()> {
    let a = row(&[1.0, 2.0]).astype(Dtype::Bfloat16)?;
    for result in [&a * 2.0, 2.0 * &a, a.clone() + 1.0, 1.0 - &a, &a / 4.0] {
        assert_eq!(result.dtype(), Dtype::Bfloat16);
    }
    assert_close(&(1.0 - &a), &[2], &[0.0, -1.0]);
    assert_close(&(4.0 / &a), &[2], &[4.0, 2.0]);
    assert_close(&-&a, &[2], &[-1.0, -2.0]);
    assert_eq!((ops::arange(0, 3)? * 0.5).dtype(), Dtype::Float32);
    assert_eq!(a.add(&row(&[1.0]))?.dtype(), Dtype::Float32, "half precision with float32 gives float32");
    Ok(())
}

#[test]
fn shapes_that_dont_fit_are_errors_and_in_operators_panics() {
    let (a, b) = (row(&[1.0, 2.0]), row(&[1.0, 2.0, 3.0]));
    assert!(a.add(&b).unwrap_err().to_string().contains("broadcast"), "{}", a.add(&b).unwrap_err());
    assert!(a.matmul(&b).is_err());
    assert!(a.reshape(&[3]).is_err());
    assert!(a.sum(&[1], false).is_err());
    assert_eq!(a.dim(1), Err(Error::new("there is no axis 1 in an array of 1 dimensions")));
    assert!(Array::from_slice(&[1.0], &[2]).is_err());
    assert!(Array::from_slice(&[1.0], &[-1]).is_err());
    assert!(std::panic::catch_unwind(|| row(&[1.0, 2.0]) + row(&[1.0, 2.0, 3.0])).is_err());
}

#[test]
fn elementwise_functions() -> Result<()> {
    let a = row(&[1.0, 4.0]);
    assert_close(&a.sqrt()?, &[2], &[1.0, 2.0]);
    assert_close(&a.rsqrt()?, &[2], &[1.0, 0.5]);
    assert_close(&a.reciprocal()?, &[2], &[1.0, 0.25]);
    assert_close(&a.square()?, &[2], &[1.0, 16.0]);
    assert_close(&a.negative()?.abs()?, &[2], &[1.0, 4.0]);
    assert_close(&a.log()?.exp()?, &[2], &[1.0, 4.0]);
    assert_close(&row(&[0.0]).sigmoid()?, &[1], &[0.5]);
    assert_close(&row(&[0.5]).tanh()?, &[1], &[0.5_f32.tanh()]);
    let less = a.less(&row(&[2.0, 2.0]))?;
    assert_eq!(less.dtype(), Dtype::Bool);
    assert_close(&ops::select(&less, &a, &row(&[0.0, 9.0]))?, &[2], &[1.0, 9.0]);
    assert_close(&a.greater(&row(&[2.0, 2.0]))?, &[2], &[0.0, 1.0]);
    assert_close(&a.equal(&row(&[1.0, 2.0]))?, &[2], &[1.0, 0.0]);
    Ok(())
}

#[test]
fn products() -> Result<()> {
    let a = matrix(&[&[1.0, 2.0], &[3.0, 4.0]]);
    assert_close(&a.matmul(&a)?, &[2, 2], &[7.0, 10.0, 15.0, 22.0]);
    assert_close(&a.matmul(&a.t()?)?, &[2, 2], &[5.0, 11.0, 11.0, 25.0]);
    assert_close(&ops::addmm(&row(&[1.0, 1.0]), &a, &a, 2.0, 3.0)?, &[2, 2], &[17.0, 23.0, 33.0, 47.0]);
    assert_close(&ops::einsum("ij,kj->ik", &[&a, &a])?, &[2, 2], &[5.0, 11.0, 11.0, 25.0]);
    assert_close(&ops::outer(&row(&[1.0, 2.0]), &row(&[3.0, 4.0]))?, &[2, 2], &[3.0, 4.0, 6.0, 8.0]);
    let batch = a.expand_dims(0)?.broadcast_to(&[3, 2, 2])?;
    assert_eq!(batch.matmul(&a)?.shape(), [3, 2, 2]);
    Ok(())
}

#[test]
fn reductions_go_over_named_axes_or_all() -> Result<()> {
    let a = matrix(&[&[1.0, 2.0], &[3.0, 4.0]]);
    assert_close(&a.sum(&[], false)?, &[], &[10.0]);
    assert_close(&a.sum(&[0], false)?, &[2], &[4.0, 6.0]);
    assert_close(&a.mean(&[-1], true)?, &[2, 1], &[1.5, 3.5]);
    assert_close(&a.max(&[0, 1], true)?, &[1, 1], &[4.0]);
    assert_close(&a.min(&[1], false)?, &[2], &[1.0, 3.0]);
    assert_close(&row(&[0.0, 0.0]).logsumexp(&[], false)?, &[], &[2.0_f32.ln()]);
    assert_close(&row(&[1.0, 1.0]).softmax(-1)?, &[2], &[0.5, 0.5]);
    Ok(())
}

#[test]
fn arrays_are_rearranged() -> Result<()> {
    let a = Array::from_slice(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &[2, 3])?;
    assert_close(&a.reshape(&[3, -1])?, &[3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_close(&a.t()?, &[3, 2], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_close(&a.swap_axes(0, -1)?, &[3, 2], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(a.expand_dims(1)?.transpose(&[1, 2, 0])?.shape(), [1, 3, 2]);
    assert_eq!(a.expand_dims(1)?.squeeze(&[1])?.shape(), [2, 3]);
    assert_eq!(a.expand_dims(0)?.flatten(0, 1)?.shape(), [2, 3]);
    assert_close(&a.slice(1, 1, 3)?, &[2, 2], &[1.0, 2.0, 4.0, 5.0]);
    assert_close(&a.slice(-1, 0, 1)?, &[2, 1], &[0.0, 3.0]);
    assert_close(&a.slice(0, 0, 2)?, &[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(a.slice(0, 1, 1)?.shape(), [0, 3]);
    assert!(a.slice(0, 1, 3).is_err() && a.slice(0, -1, 1).is_err() && a.slice(2, 0, 1).is_err());
    let pieces = a.split(3, 1)?;
    assert_close(&pieces[2], &[2, 1], &[2.0, 5.0]);
    assert!(a.split(2, 1).is_err());
    assert_close(&ops::concatenate(&[&pieces[1], &pieces[0]], 1)?, &[2, 2], &[1.0, 0.0, 4.0, 3.0]);
    assert_eq!(ops::stack(&[&a, &a], 0)?.shape(), [2, 2, 3]);
    assert_close(&a.take(&ops::arange(1, 3)?, 1)?, &[2, 2], &[1.0, 2.0, 4.0, 5.0]);
    Ok(())
}

#[test]
fn constants_have_the_type_asked_for() -> Result<()> {
    assert_close(&ops::zeros(&[2], Dtype::Float16)?, &[2], &[0.0, 0.0]);
    assert_close(&ops::ones(&[1, 2], Dtype::Int32)?, &[1, 2], &[1.0, 1.0]);
    assert_close(&ops::full(&[2, 1], 2.5, Dtype::Bfloat16)?, &[2, 1], &[2.5, 2.5]);
    assert_eq!(ops::full(&[2], 2.5, Dtype::Bfloat16)?.dtype(), Dtype::Bfloat16);
    assert_eq!(Array::scalar(1.0, Dtype::Float16)?.dtype(), Dtype::Float16);
    assert_eq!(Array::from_u32(&[1, 2], &[2])?.dtype(), Dtype::Uint32);
    assert_eq!(format!("{:?}", row(&[1.0])), "Array([1], Float32)");
    Ok(())
}

#[test]
fn a_quantized_weight_comes_back_and_multiplies_as_what_it_stands_for() -> Result<()> {
    // 16 levels between 0 and 15 are what 4 bits can hold exactly.
    let values: Vec<f32> = (0..64 * 64).map(|index| (index * 7 % 16) as f32).collect();
    let weight = Array::from_slice(&values, &[64, 64])?;
    let (packed, scales, biases) = ops::quantize(&weight, 32, 4)?;
    assert_eq!((packed.shape(), packed.dtype()), (&[64, 8][..], Dtype::Uint32));
    assert_eq!(scales.shape(), [64, 2]);
    let whole = ops::dequantize(&packed, &scales, &biases, 32, 4)?;
    assert_close(&whole, &[64, 64], &values);
    let x = ops::full(&[1, 64], 0.5, Dtype::Float32)?;
    let product = ops::quantized_matmul(&x, &packed, &scales, &biases, true, 32, 4)?;
    let expected: Vec<f32> = values.chunks(64).map(|row| row.iter().sum::<f32>() * 0.5).collect();
    assert_close(&product.reshape(&[64])?, &[64], &expected);
    let product = ops::quantized_matmul(&x, &packed, &scales, &biases, false, 32, 4)?;
    let expected: Vec<f32> =
        (0..64).map(|column| values.iter().skip(column).step_by(64).sum::<f32>() * 0.5).collect();
    assert_close(&product.reshape(&[64])?, &[64], &expected);
    Ok(())
}
