//! Written by the evaluator around a candidate. The candidate's module may not use `unsafe`; the one symbol
//! that the trial runner looks for is exported here, by the kernel API's own macro.

#[forbid(unsafe_code)]
#[path = "candidate.rs"]
mod candidate;

kernel_api::export!(candidate::build);
