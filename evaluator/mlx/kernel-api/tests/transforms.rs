//! Compiled functions, and functions with gradients of their own.
#![expect(unsafe_code, reason = "tests look inside arrays")]
#![expect(clippy::unwrap_used, clippy::float_cmp, reason = "tests may, and these numbers are exact")]

use std::cell::Cell;
use std::rc::Rc;

use kernel_api::transform::{Function, checkpoint, compile, custom_vjp, gradients_together};
use kernel_api::{Array, Error, Result, host};
use mlx_rs::error::Exception;
use mlx_rs::transforms::fallible_vjp;

fn number(value: f32) -> Array {
    Array::from_slice(&[value], &[1]).unwrap()
}

fn value(array: &Array) -> f32 {
    unsafe { host::into_mlx(array.clone()) }.item_exact::<f32>()
}

/// Value and gradient at `x`.
fn differentiate(function: &Function, x: f32) -> std::result::Result<(f32, f32), Exception> {
    let x = unsafe { host::into_mlx(number(x)) };
    let one = unsafe { host::into_mlx(number(1.0)) };
    let (values, gradients) = fallible_vjp(
        |inputs| {
            let outputs = function
                .call(&[&host::wrap(inputs[0].clone())])
                .map_err(|error| Exception::custom(error.to_string()))?;
            Ok(outputs.into_iter().map(|output| unsafe { host::into_mlx(output) }).collect())
        },
        &[x],
        &[one],
    )?;
    Ok((values[0].item_exact::<f32>(), gradients[0].item_exact::<f32>()))
}

fn cube(inputs: &[Array]) -> Result<Vec<Array>> {
    Ok(vec![inputs[0].square()?.multiply(&inputs[0])?])
}

#[test]
fn a_compiled_function_is_traced_once_and_can_be_differentiated() {
    let traces = Rc::new(Cell::new(0));
    let counter = Rc::clone(&traces);
    let function = compile(move |inputs| {
        counter.set(counter.get() + 1);
        cube(inputs)
    });
    assert_eq!(value(&function.call(&[&number(2.0)]).unwrap()[0]), 8.0);
    assert_eq!(value(&function.call(&[&number(3.0)]).unwrap()[0]), 27.0);
    assert_eq!(traces.get(), 1);
    assert_eq!(differentiate(&function, 2.0).unwrap(), (8.0, 12.0));
}

#[test]
fn a_checkpoint_computes_again_for_the_gradient() {
    let runs = Rc::new(Cell::new(0));
    let counter = Rc::clone(&runs);
    let function = checkpoint(move |inputs| {
        counter.set(counter.get() + 1);
        cube(inputs)
    })
    .unwrap();
    assert_eq!(differentiate(&function, 2.0).unwrap(), (8.0, 12.0));
    assert_eq!(runs.get(), 2);
}

#[test]
fn a_custom_gradient_is_the_one_that_counts() {
    let function = custom_vjp(cube, |inputs, cotangents, outputs| {
        assert_eq!((value(&inputs[0]), value(&outputs[0])), (2.0, 8.0));
        Ok(vec![cotangents[0].multiply(&number(100.0))?])
    })
    .unwrap();
    assert_eq!(differentiate(&function, 2.0).unwrap(), (8.0, 100.0));
}

#[test]
fn errors_and_panics_inside_come_out_of_the_call() {
    let fail = |_: &[Array]| Err(Error::new("no luck"));
    let functions =
        [compile(fail), checkpoint(fail).unwrap(), custom_vjp(fail, |_, _, _| Ok(vec![])).unwrap()];
    for function in &functions {
        assert!(function.call(&[&number(1.0)]).unwrap_err().to_string().contains("no luck"));
    }
    let function = checkpoint(|_| panic!("broken")).unwrap();
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| function.call(&[&number(1.0)])))
        .unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"broken"));
    assert_eq!(host::take_failure(), None);
}

#[test]
fn what_fails_in_a_gradient_is_kept_for_the_host() {
    let function = custom_vjp(cube, |_, _, _| Err(Error::new("no gradient"))).unwrap();
    assert!(differentiate(&function, 2.0).is_err());
    assert_eq!(host::take_failure().as_deref(), Some("no gradient"));

    let function = custom_vjp(cube, |_, _, _| panic!("row {}", 7)).unwrap();
    assert!(differentiate(&function, 2.0).is_err());
    assert_eq!(host::take_failure().as_deref(), Some("panicked: row 7"));

    let function = custom_vjp(cube, |_, _, _| Ok(vec![])).unwrap();
    assert!(differentiate(&function, 2.0).is_err());
    assert_eq!(host::take_failure().as_deref(), Some("vjp gave 0 gradients for 1 inputs"));
    assert_eq!(host::take_failure(), None);
}

#[test]
fn what_is_held_together_is_the_same_and_has_the_same_gradients() {
    let held = gradients_together(&[&number(2.0), &number(3.0)]).unwrap();
    assert_eq!((value(&held[0]), value(&held[1])), (2.0, 3.0));
    let [x, y, one] = [2.0, 3.0, 1.0].map(|value| unsafe { host::into_mlx(number(value)) });
    let (_, gradients) = fallible_vjp(
        |inputs| {
            let [x, y] = [0, 1].map(|index| host::wrap(inputs[index].clone()));
            let held = gradients_together(&[&x, &y]).map_err(|error| Exception::custom(error.to_string()))?;
            let sum = &held[0] * &held[1] + held[0].square().unwrap();
            Ok(vec![unsafe { host::into_mlx(sum) }])
        },
        &[x, y],
        &[one],
    )
    .unwrap();
    let gradients: Vec<f32> = gradients.iter().map(mlx_rs::Array::item_exact::<f32>).collect();
    assert_eq!(gradients, [3.0 + 2.0 * 2.0, 2.0]);
}
