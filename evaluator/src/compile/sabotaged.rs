//! Like `plugin.rs`, but for the sign of every result: if a check or a trial doesn't notice, it is about something else than
//! the candidate. The names are the same as there, so that the candidate can't tell.

#[forbid(unsafe_code)]
#[path = "candidate.rs"]
mod candidate;

const _: () = {
    struct Sabotaged(Box<dyn kernel_api::Kernel>);

    impl kernel_api::Kernel for Sabotaged {
        fn forward(
            &self,
            x: &kernel_api::Array,
            adapter: &kernel_api::Adapter,
        ) -> kernel_api::Result<kernel_api::Array> {
            self.0.forward(x, adapter)?.negative()
        }
    }

    /// The symbol that the trial runner looks for.
    #[unsafe(no_mangle)]
    pub fn evolve_build(layer: &kernel_api::Layer) -> kernel_api::Result<Box<dyn kernel_api::Kernel>> {
        Ok(Box::new(Sabotaged(candidate::build(layer)?)))
    }
};
