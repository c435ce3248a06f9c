//! What the process's exit code says, for scripts.

/// Exit codes of `evolve`. Documented in the README; never renumbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// It did what was asked.
    Success = 0,
    /// A fault of ours.
    Internal = 1,
    /// Bad arguments or a bad file (configuration, problem, program).
    Usage = 2,
    /// The language model's endpoint refused or can't be reached; the run can be resumed.
    Endpoint = 3,
    /// The database: locked, foreign, full disk, not writable; the run can be resumed.
    Storage = 4,
    /// The evaluator: harness missing, set-up broken; the run can be resumed.
    Evaluator = 5,
    /// `evolve evaluate`: the program was evaluated and failed.
    CandidateFailed = 6,
    /// Stopped by Ctrl-C; the run can be resumed.
    Interrupted = 130,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// An error with the exit code that it ends the process with.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the process ends.
    pub code: ExitCode,
    /// For the user: what happened, and what to do.
    pub message: String,
}

impl Failure {
    /// Bad input.
    pub fn usage(message: impl ToString) -> Self {
        Self { code: ExitCode::Usage, message: message.to_string() }
    }
}
