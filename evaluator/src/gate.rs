//! The source gate: what is refused before any compiler sees it.
//!
//! Defence in depth, not a boundary: safe Rust is none (rust-lang/rust#25860), so whatever passes here still only
//! runs in the trial runner.

mod fence;
mod library;
#[cfg(test)]
mod tests;
mod token;

use search::{Language, Outcome};

use crate::block::{self, Marked};
use crate::problem::Frame;

/// What a program has to respect.
#[derive(Debug, Clone)]
pub struct Gate {
    /// What must stay as it is; absent if nothing must.
    frame: Option<Marked>,
    kind: Frame,
    language: Language,
    limit: usize,
    is_kernel: bool,
}

/// Why a program is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Line in the program, from 1, where there is one.
    pub line: Option<u32>,
    /// What is not allowed, and what to do instead.
    pub reason: String,
}

impl Refusal {
    fn at(line: u32, reason: impl Into<String>) -> Self {
        Self { line: Some(line), reason: reason.into() }
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::Gate { line: refusal.line, reason: refusal.reason }
    }
}

impl Gate {
    /// A gate for programs that descend from `initial`, which itself must pass. `limit` is in bytes. Kernels
    /// additionally have to stay within what a kernel may use of Rust.
    pub fn new(initial: &str, language: Language, limit: usize, is_kernel: bool) -> Result<Self, Refusal> {
        let gate = Self { frame: Some(parse(initial)?), kind: Frame::Fixed, language, limit, is_kernel };
        gate.pass(initial)?;
        Ok(gate)
    }

    /// The same for a program of a command problem, of which `kind` says what must stay.
    pub fn for_command(
        initial: &str,
        language: Language,
        limit: usize,
        kind: Frame,
    ) -> Result<Self, Refusal> {
        let frame = match kind {
            Frame::Fixed => Some(parse(initial)?),
            Frame::Optional => Some(parts(initial)?),
            Frame::Free => None,
        };
        let gate = Self { frame, kind, language, limit, is_kernel: false };
        gate.pass(initial)?;
        Ok(gate)
    }

    /// Whether a program may be evaluated.
    pub fn pass(&self, program: &str) -> Result<(), Refusal> {
        if program.len() > self.limit {
            let reason =
                format!("the program has {} bytes, at most {} are allowed", program.len(), self.limit);
            return Err(Refusal { line: None, reason });
        }
        if let Some(line) = (1_u32..).zip(program.lines()).find(|(_, text)| text.contains('\0')) {
            return Err(Refusal::at(line.0, "a NUL character"));
        }
        let Some(frame) = &self.frame else { return Ok(()) };
        let program_parts = if self.kind == Frame::Fixed { parse(program)? } else { parts(program)? };
        if let Some(line) = frame.first_frame_difference(&program_parts) {
            let reason = "only the code within an EVOLVE-BLOCK may change; leave the rest as it is";
            return Err(Refusal::at(line, reason));
        }
        if self.is_kernel && self.language == Language::Rust {
            for block in &program_parts.blocks {
                fence::stands_alone(block)?;
            }
            fence::check(program)?;
        }
        Ok(())
    }
}

fn parse(program: &str) -> Result<Marked, Refusal> {
    // The line is part of the message already.
    block::parse(program).map_err(|error| Refusal { line: None, reason: error.to_string() })
}

fn parts(program: &str) -> Result<Marked, Refusal> {
    block::parts(program).map_err(|error| Refusal { line: None, reason: error.to_string() })
}
