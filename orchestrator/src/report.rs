//! What was found, for people: as text, as drawings, as one HTML file. Pure.

pub mod calibration;
pub mod decisions;
mod evaluation;
pub mod html;
pub mod judgement;
pub(crate) mod markdown;
pub(crate) mod numbers;
pub mod pairs;
pub mod run;
pub mod trace;

pub use self::evaluation::{evaluation, outcome, trials};
pub use self::numbers::bytes;
