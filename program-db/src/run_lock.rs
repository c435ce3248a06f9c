//! One process at a time works on a run.
//!
//! The lock is the operating system's, on a file beside the database, so that it goes with its process however that
//! ends: kill -9 leaves nothing to clean up. The file stays: to delete it would let two processes hold locks on two
//! files of one name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// How often, and how long between, a lock that is held is tried again: it may only be looked at by [`ProgramDb::run_holder`].
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// A process that works on a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunHolder {
    /// Its process id on this machine, by its own note; absent while it has not written one.
    pub pid: Option<u32>,
}

/// The right to work on a run, until it is dropped.
#[derive(Debug)]
#[must_use = "the run is unlocked when this is dropped"]
pub struct RunLock {
    file: File,
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Closing would unlock it too, but only once a process that is just being started has closed its copy. If this fails, that is what
        // remains.
        self.file.unlock().ok();
    }
}

impl ProgramDb {
    /// Takes the right to work on a run.
    ///
    /// # Errors
    /// [`DbError::RunBusy`] if another process (or another part of this one) has it.
    pub fn lock_run(&self, run: RunId) -> Result<RunLock, DbError> {
        let path = self.lock_path(run);
        let failed = |source| DbError::File { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < TRIES => std::thread::sleep(BETWEEN_TRIES),
                Err(TryLockError::WouldBlock) => return Err(busy(run, &mut file)),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            tries += 1;
        }
        // The note is for the next one's error message; the lock holds without it.
        file.set_len(0).map_err(failed)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(failed)?;
        file.rewind().map_err(failed)?;
        Ok(RunLock { file })
    }

    /// Who works on a run now; nobody if its lock is free. Only looks, so it also works where nothing can be written.
    ///
    /// # Errors
    /// [`DbError::File`] if the lock can't be looked at.
    pub fn run_holder(&self, run: RunId) -> Result<Option<RunHolder>, DbError> {
        let path = self.lock_path(run);
        let failed = |source| DbError::File { path: path.clone(), source };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => {
                file.unlock().map_err(failed)?;
                Ok(None)
            }
            // The note is read only now: it is the holder's own, or none yet.
            Err(TryLockError::WouldBlock) => Ok(Some(RunHolder { pid: note(&mut file) })),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    fn lock_path(&self, run: RunId) -> PathBuf {
        let mut path = self.path().as_os_str().to_owned();
        path.push(format!(".run-{run}.lock"));
        path.into()
    }
}

fn busy(run: RunId, file: &mut File) -> DbError {
    let pid = note(file);
    let holder = pid.map_or_else(|| "another process".to_owned(), |pid: u32| format!("process {pid}"));
    DbError::RunBusy { run, pid, holder }
}

/// The process id that the holder noted in the lock's file.
fn note(file: &mut File) -> Option<u32> {
    let mut note = String::new();
    file.read_to_string(&mut note).ok()?;
    note.trim().parse().ok()
}
