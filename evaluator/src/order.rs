//! What the evaluator and `evolve-launcher` say to each other.
//!
//! The launcher's standard input and output belong to the command it starts; its standard error is one end
//! of a socket pair. On it the evaluator sends one [`Order`] and the launcher answers [`News::Started`] and
//! [`News::Ended`], each a frame as in [`trial_protocol::write_frame`]. The same socket is the lifeline: when
//! the evaluator's end closes, for whatever reason, the launcher kills everything it started.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One command to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The executable; without a `/` it is looked up in the order's own `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment: nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// Its working folder.
    pub directory: PathBuf,
    /// Seconds from its start until it is killed.
    pub deadline_seconds: f64,
    /// Resident bytes of the whole tree above which it is killed; none means no limit.
    pub memory_bytes: Option<u64>,
    /// Bytes of standard error to keep: the first half and the last half of that many.
    pub stderr_bytes: usize,
}

/// What the launcher reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub enum News {
    /// The command runs, in a process group with its own process id as number.
    Started {
        /// Process id.
        pid: u32,
    },
    /// The command and everything that it started are gone.
    Ended(Ended),
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The manner.
    pub how: How,
    /// Seconds from start to end.
    pub wall_seconds: f64,
    /// Peak resident set in bytes: the operating system's figure for the command, or the largest sum over
    /// its tree that the launcher saw, whichever is more.
    pub peak_bytes: u64,
    /// What it wrote to standard error, with the middle cut out if it was too much.
    pub stderr: String,
}

/// The manner in which a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum How {
    /// It ended by itself.
    Exited {
        /// Exit code.
        code: i32,
    },
    /// A signal ended it, not one of ours.
    Signaled {
        /// Signal number.
        signal: i32,
    },
    /// We killed it at its deadline.
    Deadline,
    /// We killed it at its memory limit.
    Memory,
    /// We killed it because the evaluator asked for it or died.
    Stopped,
    /// Somebody killed the launcher, and the command died with it. Only the evaluator can say this.
    Lost,
    /// It could not be started.
    NotStarted {
        /// The operating system's words.
        message: String,
    },
}

impl How {
    /// Whether somebody else than us killed it. No program kills itself with SIGKILL by mistake, so that says
    /// nothing about the program, unless it happens again.
    pub fn is_from_outside(&self) -> bool {
        matches!(self, Self::Lost | Self::Signaled { signal: libc::SIGKILL })
    }
}

impl fmt::Display for How {
    /// A predicate: "exited with code 1".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exited with code {code}"),
            Self::Signaled { signal } => match signal_name(*signal) {
                Some(name) => write!(f, "was killed by signal {signal} ({name})"),
                None => write!(f, "was killed by signal {signal}"),
            },
            Self::Deadline => f.write_str("ran past its time limit"),
            Self::Memory => f.write_str("went past its memory limit"),
            Self::Stopped => f.write_str("was stopped"),
            Self::Lost => f.write_str("was killed with its launcher"),
            Self::NotStarted { message } => write!(f, "could not be started: {message}"),
        }
    }
}

/// The signals by which programs usually die.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGABRT => "SIGABRT, an abort",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGKILL => "SIGKILL, perhaps for lack of memory",
        libc::SIGSEGV => "SIGSEGV, an invalid memory access or a stack overflow",
        libc::SIGTERM => "SIGTERM",
        _ => return None,
    })
}
