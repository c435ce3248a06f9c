//! The judge. It is trusted: no candidate code is ever loaded where this runs, and what comes from a candidate is bytes.
//!
//! [`challenge`] turns a seed into a layer and its inputs; runner and grader both do that, each for itself. What the
//! answer should be ([`truth`]), what error it may have ([`straightforward`]) and whether it passes ([`compare`]) is
//! known to the grader alone; so is what a trial's adapters should be ([`trial`]).

pub mod challenge;
pub mod compare;
pub mod device;
pub mod host;
mod matrix;
pub mod model;
pub mod session;
pub mod straightforward;
pub mod trial;
pub mod truth;
