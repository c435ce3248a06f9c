//! What the evaluator (supervisor), the trial runner and the grader say to each other.
//!
//! The trial runner is not trusted: it loads a candidate. One process serves one [`Request`], and nothing that it says about itself
//! decides anything; what counts is bytes and the supervisor's clock.
//!
//! - *Check*: the runner locks itself, loads the kernel, answers [`Reply::Ready`]. Then, as often as the supervisor likes, comes a
//!   [`Challenge`], answered by [`Reply::Answer`] and a raw frame with the arrays of [`AnswerLayout`]. The end of standard input
//!   is the end.
//! - *Trial*: the runner locks itself, loads, warms up, answers [`Reply::Ready`] and waits for [`Go`], which brings the seed; it trains,
//!   and answers [`Reply::Trained`] and a raw frame with all adapters as float32, in the order of the grader's slots, each in the
//!   order of [`AdapterKind::arrays`]. The supervisor's clock runs from writing `Go` to the last byte of those. Then [`Reply::Trial`] follows.
//!
//! [`Reply::Failed`] may come instead of any answer. When its standard input closes, the runner exits at once.
//!
//! The grader is trusted: it never loads a candidate. One process serves many [`GradeRequest`]s; those that are about an answer are
//! followed by that answer as a raw frame.
//!
//! A frame is a little-endian `u32` length and that many bytes: of JSON, or raw where the message before it said so.

mod challenge;
mod frame;
mod grade;
mod harness;
mod layer;
mod nan;
mod runner;
mod training;

pub use challenge::{AnswerLayout, Challenge, Of, Part, Values};
pub use frame::{MAX_FRAME, MAX_RAW, read_frame, read_raw, write_frame, write_raw};
pub use grade::{
    Comparison, GradeCheck, GradeReply, GradeRequest, GradeTrial, PrepareRequest, Prepared, Slot, TrialGrade,
};
pub use harness::{COMPILED_KERNELS, Description, Harness, KERNEL_CACHE, KERNEL_FILES};
pub use layer::{AdapterKind, CheckCase, Dtype, Quantization, Sibling};
pub use runner::{
    Blame, CheckRequest, CompiledFile, Failure, Go, Plugin, Reply, Request, TrialReport, TrialRequest,
    WarmRequest,
};
pub use training::{Model, Optimizer, RealModel, RealShapes, SyntheticModel, Training};

/// Counts the changes of these messages. An evaluator refuses a harness of another one: what it doesn't understand would look like a
/// candidate's crash. 2: layers that share x. 4: compiled steps.
pub const PROTOCOL: u32 = 5;
