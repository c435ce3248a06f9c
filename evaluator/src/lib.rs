//! Builds a candidate, checks it, measures it in trials and returns an [`search::Outcome`].
//!
//! The library is both sides of one conversation. The orchestrator uses [`Evaluator`], which starts the
//! process `evolve-evaluator` and sends it [`Job`]s; that process uses the rest. Everything that runs a
//! candidate, or a compiler on a candidate's text, is started through `evolve-launcher`, which kills the
//! whole process tree when its caller dies.
//!
//! No candidate code is ever loaded into the evaluator: only the trial runner does that, locked, and whatever it says about
//! itself decides nothing. The evaluator keeps the time, and a second process, the grader, which never sees a candidate,
//! judges the bytes that the runner returns. Nothing in here knows a language model, a prompt or a database, and no child
//! inherits the caller's environment.

pub mod ambient;
pub mod block;
pub mod bundle;
mod challenge;
pub mod client;
mod command;
mod compile;
mod confine;
#[cfg(target_os = "linux")]
pub mod descendants;
mod device;
mod footprint;
#[doc(hidden)]
pub mod frames;
pub mod gate;
mod gpu;
mod grader;
pub mod harness;
pub mod history;
mod initial_kernels;
pub mod job;
mod kernel;
mod launch;
mod log;
pub mod noise;
pub mod order;
pub mod problem;
pub mod protocol;
pub mod report;
mod runner;
pub mod sandbox;
mod scratch;
mod secret;
mod serve;
pub mod statistics;
mod stop;
pub mod suite;
pub mod trial;
pub mod verdict;
pub mod wire;

pub use client::{Evaluator, EvaluatorError, EvaluatorOptions};
pub use job::{Job, Opponent, Purpose};
pub use problem::{LoadedProblem, Problem};
pub use report::{Artifact, EvaluationReport, MeasuredBy, shorten};
pub use serve::{ONE_THREAD, serve};
pub use trial::{Arm, Exit, TrialRecord};
pub use wire::{Event, Progress};
