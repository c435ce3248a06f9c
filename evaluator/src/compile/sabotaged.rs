//! Like `plugin.rs`, but for the sign of every result: if a check or a trial doesn't notice, it is about something else than
//! the candidate. The names are the same as there, so that the candidate can't tell.

#[forbid(unsafe_code)]
#[path = "candidate.rs"]
mod candidate;

const _: () = {
    use kernel_api::{Adapter, Array, Kernel, KernelGroup, Layer, Result};

    struct Sabotaged<T: ?Sized>(Box<T>);

    impl Kernel for Sabotaged<dyn Kernel> {
        fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
            self.0.forward(x, adapter)?.negative()
        }

        fn group(&self, layers: &[Layer]) -> Result<Option<Box<dyn KernelGroup>>> {
            Ok(self.0.group(layers)?.map(|group| Box::new(Sabotaged(group)) as Box<dyn KernelGroup>))
        }
    }

    impl KernelGroup for Sabotaged<dyn KernelGroup> {
        fn forward(&self, x: &Array, adapters: &[Adapter]) -> Result<Vec<Array>> {
            self.0.forward(x, adapters)?.iter().map(Array::negative).collect()
        }
    }

    /// The symbol that the trial runner looks for.
    #[unsafe(no_mangle)]
    pub fn evolve_build(layer: &Layer) -> Result<Box<dyn Kernel>> {
        Ok(Box::new(Sabotaged(candidate::build(layer)?)))
    }
};
