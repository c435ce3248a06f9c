//! Tests of the public interface, in one binary.

// Clippy's exception for tests doesn't reach the helpers of integration tests.
#![allow(clippy::unwrap_used)]

mod behaviour;
mod features;
mod histories;
mod history;
