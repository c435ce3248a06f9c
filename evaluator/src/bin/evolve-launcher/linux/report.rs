//! What the first process of a sandbox tells the launcher, over a pipe.

use std::io;

use evaluator::order::How;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// This system doesn't let us make such a sandbox.
    Unavailable { message: String },
    /// It does, but something went wrong.
    Failed { message: String },
    /// The sandbox stands, but the program can't be started.
    NotStarted { message: String },
    /// The program runs.
    Running,
    /// The program and everything that it started are gone, and its result is taken out.
    Ended { how: How, peak_bytes: u64 },
}

/// A step of the set-up that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    /// The system's policy forbids it, as opposed to: something is wrong with the order.
    forbidden: bool,
}

impl From<Failure> for Report {
    fn from(Failure { message, forbidden }: Failure) -> Self {
        if forbidden { Self::Unavailable { message } } else { Self::Failed { message } }
    }
}

/// Names the step that failed.
pub(crate) trait Step<T> {
    fn step(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| {
            let error = error.into();
            let forbidden = [libc::EPERM, libc::EACCES, libc::ENOSYS, libc::ENOSPC, libc::EUSERS]
                .contains(&error.raw_os_error().unwrap_or(0));
            Failure { message: format!("{}: {error}", what()), forbidden }
        })
    }
}
