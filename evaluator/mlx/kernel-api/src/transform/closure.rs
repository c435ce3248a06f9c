//! Rust functions as mlx-c's closures, for the transformations that mlx-rs doesn't offer.
#![expect(unsafe_code, reason = "mlx-c's interface")]

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use mlx_sys::{mlx_closure, mlx_closure_custom, mlx_vector_array};

use crate::vector::{Vector, arrays};
use crate::{Array, Error, Result};

pub(super) type Forward = Box<dyn Fn(&[Array]) -> Result<Vec<Array>>>;
pub(super) type Backward = Box<dyn Fn(&[Array], &[Array], &[Array]) -> Result<Vec<Array>>>;

const SUCCESS: c_int = 0;
const FAILURE: c_int = 1;

/// What a function did instead of returning arrays. MLX passes on only that it failed.
enum Failure {
    Error(Error),
    Panic(Box<dyn Any + Send>),
}

thread_local! {
    static FAILURE_INSIDE: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// The same arrays, each there only when all are.
pub(super) fn together(arrays: &[Array]) -> Result<Vec<Array>> {
    let (all, mut tied) = (Vector::of(arrays.iter()), Vector::new());
    // SAFETY: all handles are valid.
    match unsafe { mlx_sys::mlx_depends(tied.place(), all.handle(), all.handle()) } {
        SUCCESS => tied.arrays(),
        _ => Err(Error::new("MLX couldn't tie arrays together")),
    }
}

/// What went wrong inside a function that MLX called by itself, while it computed gradients.
pub(crate) fn take_failure() -> Option<String> {
    match FAILURE_INSIDE.take()? {
        Failure::Error(error) => Some(error.to_string()),
        Failure::Panic(payload) => {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            Some(text.map_or_else(|| "panicked".into(), |text| format!("panicked: {text}")))
        }
    }
}

/// Keeps an error until [`kept_error`] or [`take_failure`] asks for it.
pub(super) fn keep_error(error: Error) {
    FAILURE_INSIDE.set(Some(Failure::Error(error)));
}

/// The error kept last. A kept panic goes on.
pub(super) fn kept_error() -> Option<Error> {
    match FAILURE_INSIDE.take()? {
        Failure::Error(error) => Some(error),
        Failure::Panic(payload) => resume_unwind(payload),
    }
}

/// A function after a transformation.
pub(super) struct Transformed {
    closure: mlx_closure,
}

impl Transformed {
    pub(super) fn checkpoint(function: Forward) -> Result<Self> {
        let function = forward_closure(function)?;
        // SAFETY: both handles are valid; the result holds its own reference to `function`.
        Self::make("checkpoint", |result| unsafe { mlx_sys::mlx_checkpoint(result, function.closure) })
    }

    pub(super) fn custom_vjp(function: Forward, vjp: Backward) -> Result<Self> {
        let function = forward_closure(function)?;
        let payload = Box::into_raw(Box::new(vjp)).cast();
        // SAFETY: the payload is a boxed `Backward`, which is what the trampoline and the destructor take it for.
        let vjp = Custom(unsafe {
            mlx_sys::mlx_closure_custom_new_func_payload(
                Some(run_backward),
                payload,
                Some(destroy::<Backward>),
            )
        });
        // SAFETY: all handles are valid; the result holds its own references.
        Self::make("custom_vjp", |result| unsafe { mlx_sys::mlx_custom_vjp(result, function.closure, vjp.0) })
    }

    fn make(what: &str, transform: impl FnOnce(*mut mlx_closure) -> c_int) -> Result<Self> {
        // SAFETY: makes an empty handle.
        let mut made = Self { closure: unsafe { mlx_sys::mlx_closure_new() } };
        match transform(&raw mut made.closure) {
            SUCCESS => Ok(made),
            _ => Err(Error::new(format!("{what} failed"))),
        }
    }

    pub(super) fn call(&self, inputs: &[&Array]) -> Result<Vec<Array>> {
        let (inputs, mut outputs) = (Vector::of(inputs.iter().copied()), Vector::new());
        // SAFETY: all handles are valid.
        let status = unsafe { mlx_sys::mlx_closure_apply(outputs.place(), self.closure, inputs.handle()) };
        match (status, kept_error()) {
            (_, Some(error)) => Err(error),
            (SUCCESS, None) => outputs.arrays(),
            (_, None) => Err(Error::new("MLX couldn't run the function")),
        }
    }
}

impl Drop for Transformed {
    fn drop(&mut self) {
        // SAFETY: the handle is ours.
        unsafe { mlx_sys::mlx_closure_free(self.closure) };
    }
}

/// A function of primals, cotangents and outputs.
struct Custom(mlx_closure_custom);

impl Drop for Custom {
    fn drop(&mut self) {
        // SAFETY: the handle is ours.
        unsafe { mlx_sys::mlx_closure_custom_free(self.0) };
    }
}

fn forward_closure(function: Forward) -> Result<Transformed> {
    // MLX's own error handler ends the process. mlx-rs puts its handler there the first time that it calls MLX.
    mlx_rs::memory::active_memory()?;
    let payload = Box::into_raw(Box::new(function)).cast();
    // SAFETY: the payload is a boxed `Forward`, which is what the trampoline and the destructor take it for.
    let closure = unsafe {
        mlx_sys::mlx_closure_new_func_payload(Some(run_forward), payload, Some(destroy::<Forward>))
    };
    Ok(Transformed { closure })
}

extern "C" fn run_forward(
    result: *mut mlx_vector_array,
    inputs: mlx_vector_array,
    payload: *mut c_void,
) -> c_int {
    // SAFETY: MLX passes what `forward_closure` gave it, and valid lists.
    guard(result, || unsafe { (*payload.cast::<Forward>())(&arrays(inputs)?) })
}

extern "C" fn run_backward(
    result: *mut mlx_vector_array,
    primals: mlx_vector_array,
    cotangents: mlx_vector_array,
    outputs: mlx_vector_array,
    payload: *mut c_void,
) -> c_int {
    guard(result, || {
        // SAFETY: MLX passes what `custom_vjp` gave it, and valid lists.
        let (primals, cotangents, outputs, vjp) = unsafe {
            (arrays(primals)?, arrays(cotangents)?, arrays(outputs)?, &*payload.cast::<Backward>())
        };
        let gradients = vjp(&primals, &cotangents, &outputs)?;
        if gradients.len() != primals.len() {
            let message = format!("vjp gave {} gradients for {} inputs", gradients.len(), primals.len());
            return Err(Error::new(message));
        }
        Ok(gradients)
    })
}

/// Keeps panics from crossing C++, and errors for whoever asks.
fn guard(result: *mut mlx_vector_array, run: impl FnOnce() -> Result<Vec<Array>>) -> c_int {
    let failure = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(arrays)) => {
            // What MLX passes is a handle without a list behind it.
            let list = Vector::of(arrays.iter()).into_handle();
            // SAFETY: `result` is a valid place; MLX frees the list that it finds there.
            unsafe { *result = list };
            return SUCCESS;
        }
        Ok(Err(error)) => Failure::Error(error),
        Err(payload) => Failure::Panic(payload),
    };
    FAILURE_INSIDE.set(Some(failure));
    FAILURE
}

extern "C" fn destroy<T>(payload: *mut c_void) {
    // SAFETY: MLX calls this once, with the box that was leaked for it.
    let value = unsafe { Box::from_raw(payload.cast::<T>()) };
    // A panic in a captured value's destructor must not cross C++ either.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        FAILURE_INSIDE.set(Some(Failure::Panic(payload)));
    }
}
