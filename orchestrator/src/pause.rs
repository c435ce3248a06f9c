//! Pausing a run that another process works on: a clean stop, asked for from outside. Nothing is lost, and `evolve resume` goes on.

use std::io;

use program_db::{DbError, ProgramDb, RunId};
use rustix::process::{Pid, Signal};

/// What became of the wish that a run pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// The process was asked to stop. It finishes what is paid for; [`ProgramDb::run_holder`] tells when it is gone.
    Asked {
        /// Its process id.
        pid: u32,
    },
    /// Nobody works on the run.
    Idle,
    /// A process holds the run's lock but has no session of it: it only just starts, or it measures for a report.
    NoSearch {
        /// Its process id, if it noted one.
        pid: Option<u32>,
    },
}

/// It could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// The database or the lock can't be read.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The operating system refused.
    #[error(
        "process {pid} works on run {run} but can't be asked to stop ({source}); stop it where it was started (Ctrl-C there)"
    )]
    Signal {
        /// The run.
        run: RunId,
        /// The process.
        pid: u32,
        /// The operating system's words: it belongs to somebody else, say.
        source: io::Error,
    },
}

impl Pause {
    /// What to tell a person, in one line.
    pub fn words(self, run: RunId) -> String {
        match self {
            Self::Asked { pid } => {
                format!(
                    "process {pid} was asked to stop run {run}; nothing is lost, `evolve resume {run}` goes on"
                )
            }
            Self::Idle => format!("run {run} is not running"),
            Self::NoSearch { pid } => {
                let who = pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
                format!(
                    "{who} holds run {run} but does not search: it only just starts, or measures for a report; try again later"
                )
            }
        }
    }
}

/// Asks the process that works on a run to stop, as Ctrl-C there would.
///
/// It is asked only if it holds the run's lock at this moment and the run's last session is its own, so that a process which has come to the
/// same number meanwhile is left alone.
///
/// # Errors
/// [`PauseError`].
pub async fn pause(db: &ProgramDb, run: RunId) -> Result<Pause, PauseError> {
    let Some(holder) = db.run_holder(run)? else {
        db.run(run).await?;
        return Ok(Pause::Idle);
    };
    let last = db.sessions(run).await?.into_iter().next_back();
    let works = |pid: &u32| last.as_ref().is_some_and(|last| last.pid == *pid && last.ended_at.is_none());
    let Some(pid) = holder.pid.filter(works) else { return Ok(Pause::NoSearch { pid: holder.pid }) };
    let failed = |source: rustix::io::Errno| PauseError::Signal { run, pid, source: source.into() };
    let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(Pause::NoSearch { pid: holder.pid });
    };
    // Held while the lock is looked at once more: this process, and no later one of its number, is asked.
    #[cfg(target_os = "linux")]
    let handle = match rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(Pause::Idle),
        // Before Linux 5.3, or not allowed here.
        Err(_) => None,
        Ok(handle) => Some(handle),
    };
    if db.run_holder(run)? != Some(holder) {
        return Ok(Pause::Idle);
    }
    #[cfg(target_os = "linux")]
    if let Some(handle) = handle {
        rustix::process::pidfd_send_signal(&handle, Signal::TERM).map_err(failed)?;
        return Ok(Pause::Asked { pid });
    }
    rustix::process::kill_process(process, Signal::TERM).map_err(failed)?;
    Ok(Pause::Asked { pid })
}
