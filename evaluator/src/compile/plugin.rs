//! Written by the evaluator around a candidate, whose module may not use `unsafe`. Both sides are built by the same
//! compiler against the same kernel API, so the exported function can be an ordinary Rust one.

#[forbid(unsafe_code)]
#[path = "candidate.rs"]
mod candidate;

// What is in a nameless constant can't be named by the candidate.
const _: () = {
    /// The symbol that the trial runner looks for.
    #[unsafe(no_mangle)]
    pub fn evolve_build(layer: &kernel_api::Layer) -> kernel_api::Result<Box<dyn kernel_api::Kernel>> {
        candidate::build(layer)
    }
};
