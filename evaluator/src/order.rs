//! What the evaluator and `evolve-launcher` say to each other.
//!
//! The launcher's standard input and output belong to the command it starts; its standard error is one end
//! of a socket pair. On it the evaluator sends one [`Order`], then perhaps an [`Ask`] now and then; the launcher sends
//! [`News::Started`], answers, and [`News::Ended`], each a frame as in [`trial_protocol::write_frame`]. The same socket is the
//! lifeline: when the evaluator's end closes, for whatever reason, the launcher kills everything it started.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio_util::codec::LengthDelimitedCodec;

/// The framing of a launcher's news.
pub fn codec() -> LengthDelimitedCodec {
    let longest = trial_protocol::MAX_FRAME as usize;
    LengthDelimitedCodec::builder().little_endian().max_frame_length(longest).new_codec()
}

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
    /// Its working folder. Within the sandbox this is the scratch folder: empty, private, the only place to write to.
    pub directory: PathBuf,
    /// Seconds from its start until it is killed.
    pub deadline_seconds: f64,
    /// Resident bytes of the whole tree above which it is killed; none means no limit.
    pub memory_bytes: Option<u64>,
    /// Bytes of standard error to keep: the first half and the last half of that many.
    pub stderr_bytes: usize,
    /// How far it is shut in.
    pub confinement: Confinement,
}

/// How far a command is shut in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "confinement", rename_all = "snake_case")]
pub enum Confinement {
    /// Not at all: the user said `--no-sandbox`.
    None,
    /// As far as this system can. If that fails, nothing is run.
    Sandbox(Box<Sandbox>),
}

/// What a command may do in the sandbox. Whatever isn't named here it may not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sandbox {
    /// For whom.
    pub profile: Profile,
    /// Files and folders that may be read and executed, at their own absolute paths.
    pub read: Vec<PathBuf>,
    /// Device files that may be read and written: a GPU's.
    pub devices: Vec<PathBuf>,
    /// Size limit of the scratch folder in bytes.
    pub scratch_bytes: u64,
    /// Number of files and folders in the scratch folder, at most.
    pub scratch_files: u64,
    /// Processes and threads at once, at most.
    pub processes: u32,
    /// Whether it may use the network.
    pub network: bool,
    /// A file to be taken out of the scratch folder after a good end.
    pub export: Option<Export>,
}

/// For whom a sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Compilers and evaluators: may start processes.
    Tool,
    /// The trial runner: starts in the same way, and locks itself further before it loads a candidate.
    Trial,
}

/// A file that the command leaves behind. It is copied when everything that the command started is dead, and only if it is an
/// ordinary file of at most that size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Its name in the scratch folder, without folders.
    pub from: String,
    /// Where it goes, outside.
    pub to: PathBuf,
    /// Largest size in bytes.
    pub bytes: u64,
}

/// How well this system could shut a command in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Everything: on Linux namespaces, Landlock, seccomp and limits; on macOS the system's own sandbox.
    Full,
    /// Linux without user namespaces (as in most containers): Landlock, seccomp and limits only.
    Reduced,
    /// No sandbox, because the user said so.
    None,
}

impl Tier {
    /// The word used in the database and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Reduced => "reduced",
            Self::None => "none",
        }
    }
}

/// What the evaluator may ask while a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// How much memory the command uses, and its peak since the last time this was asked. Answered by [`News::Memory`].
    Memory,
    /// To kill everything that the command has started, and not the command itself. Answered by [`News::Swept`]. For systems without
    /// namespaces of processes, in which a command can do that by itself.
    Sweep,
}

/// Memory as the operating system counts it, of the command with everything that it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// Resident now, in bytes.
    pub resident_bytes: u64,
    /// Largest resident figure since the last question, or since the start, in bytes.
    pub peak_bytes: u64,
}

/// What the launcher reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub enum News {
    /// The command runs, in a process group with its own process id as number.
    Started {
        /// Process id, as seen from outside the sandbox.
        pid: u32,
        /// How well it is shut in.
        tier: Tier,
    },
    /// The answer to [`Ask::Memory`].
    Memory(MemoryUse),
    /// The answer to [`Ask::Sweep`].
    Swept {
        /// Whether nothing of it is left, as far as this system tells.
        is_clean: bool,
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
    /// The sandbox could not be set up, so it was not started.
    SandboxFailed {
        /// What failed, and what to do.
        message: String,
    },
    /// It ended well, but what it was to leave behind is missing, no ordinary file, or too large.
    NotExported {
        /// Which of these.
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
            Self::SandboxFailed { message } => {
                write!(f, "was not started, since the sandbox failed: {message}")
            }
            Self::NotExported { message } => write!(f, "left no result behind: {message}"),
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
        libc::SIGSYS => "SIGSYS, a system call that the sandbox forbids",
        libc::SIGTERM => "SIGTERM",
        _ => return None,
    })
}
