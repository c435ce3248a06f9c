//! Loading a kernel, and keeping what it does wrong inside.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;

use kernel_api::{Adapter, Array, Error, Kernel, KernelGroup, Layer, Result};
use trainer::BuildKernel;

/// The loaded plugin's entry point. One process serves one request, so there is never a second.
static BUILD: OnceLock<BuildKernel> = OnceLock::new();

/// Loads the plugin. What comes back builds kernels whose panics are errors.
#[expect(unsafe_code, reason = "loading code is unsafe by nature; this process exists for it")]
pub(crate) fn load(path: &Path) -> std::result::Result<BuildKernel, String> {
    let explain =
        |error: libloading::Error| format!("can't load {}: {:#}", path.display(), anyhow::Error::new(error));
    // SAFETY: the library was compiled by the evaluator, against this very kernel API and by the compiler that built it;
    // its initialisers are Rust's own.
    let library = unsafe { libloading::Library::new(path) }.map_err(explain)?;
    // SAFETY: the evaluator's wrapper defines the symbol with this type.
    let build = *unsafe { library.get::<BuildKernel>(b"evolve_build\0") }.map_err(explain)?;
    // Kernels hold code of the library, and live as long as the process does.
    std::mem::forget(library);
    BUILD.set(build).map_err(|_| "a plugin is loaded already".to_owned())?;
    Ok(guarded_build)
}

fn guarded_build(layer: &Layer) -> Result<Box<dyn Kernel>> {
    let build = BUILD.get().ok_or_else(|| Error::new("no plugin is loaded"))?;
    let kernel = guard(|| build(layer))?;
    Ok(Box::new(Guarded(kernel)))
}

/// A kernel, or a group, whose panics are errors.
struct Guarded<T: ?Sized>(Box<T>);

impl Kernel for Guarded<dyn Kernel> {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        guard(|| self.0.forward(x, adapter))
    }

    fn group(&self, layers: &[Layer]) -> Result<Option<Box<dyn KernelGroup>>> {
        let group = guard(|| self.0.group(layers))?;
        Ok(group.map(|group| Box::new(Guarded(group)) as Box<dyn KernelGroup>))
    }
}

impl KernelGroup for Guarded<dyn KernelGroup> {
    fn forward(&self, x: &Array, adapters: &[Adapter]) -> Result<Vec<Array>> {
        guard(|| self.0.forward(x, adapters))
    }
}

fn guard<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|payload| Err(Error::new(panic_text(payload.as_ref()))))
}

/// A panic in words.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    match text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)) {
        Some(text) => format!("panicked: {text}"),
        None => "panicked".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        let error = guard::<()>(|| panic!("row {}", 7)).unwrap_err();
        assert_eq!(error.to_string(), "panicked: row 7");
        assert_eq!(guard(|| Ok(1)).unwrap(), 1);
    }

    #[test]
    fn a_file_that_is_no_plugin_is_refused() {
        let error = load(Path::new("/dev/null")).unwrap_err();
        assert!(error.starts_with("can't load /dev/null: "), "{error}");
    }
}
