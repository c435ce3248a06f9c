//! Why an evaluation ends before its end.

use std::io;

use search::Outcome;

use crate::launch::LaunchError;

/// Lets `?` end the pipeline for either reason.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The candidate failed; that is its outcome.
    Outcome(Outcome),
    /// We broke, or the set-up is wrong: no word on the candidate.
    Broken(String),
}

impl Stop {
    /// The sandbox could not be set up. Nothing has run.
    pub(crate) fn sandbox(words: &str) -> Self {
        Self::Broken(format!("the sandbox can't be set up, so nothing was run: {words}"))
    }
}

impl From<Outcome> for Stop {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(outcome)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<LaunchError> for Stop {
    fn from(error: LaunchError) -> Self {
        Self::Broken(error.to_string())
    }
}
