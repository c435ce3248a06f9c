//! One process at a time works on a run.
//!
//! The lock is the operating system's, on a file beside the database, so that it goes with its process however that
//! ends: kill -9 leaves nothing to clean up. The file stays: to delete it would let two processes hold locks on two
//! files of one name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

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
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(busy(run, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // The note is for the next one's error message; the lock holds without it.
        file.set_len(0).map_err(failed)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(failed)?;
        file.rewind().map_err(failed)?;
        Ok(RunLock { file })
    }

    fn lock_path(&self, run: RunId) -> PathBuf {
        let mut path = self.path().as_os_str().to_owned();
        path.push(format!(".run-{run}.lock"));
        path.into()
    }
}

fn busy(run: RunId, file: &mut File) -> DbError {
    let mut note = String::new();
    let pid = file.read_to_string(&mut note).ok().and_then(|_| note.trim().parse().ok());
    let holder = pid.map_or_else(|| "another process".to_owned(), |pid: u32| format!("process {pid}"));
    DbError::RunBusy { run, pid, holder }
}
