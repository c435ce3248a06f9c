//! Who may use the machine when: builds and checks together, a timed trial alone.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphorePermit};

/// How often to look whether another evolve process has let go of the machine.
const INTERVAL: Duration = Duration::from_millis(5);

/// One machine, with one device to measure on.
#[derive(Debug)]
pub(crate) struct Device {
    /// As many builds and checks at once as there are permits.
    builds: Semaphore,
    /// Whose trials run: one candidate's trials are not spread among another's, but builds fit between them.
    series: Mutex<()>,
    /// Builds read, a timed trial writes.
    quiet: RwLock<()>,
    /// The same between processes; advisory.
    lock: Option<PathBuf>,
}

/// Held while a build or a check runs.
pub(crate) struct Building<'a> {
    _permit: SemaphorePermit<'a>,
    _quiet: RwLockReadGuard<'a, ()>,
    _lock: Option<File>,
}

/// Held from a candidate's first trial to its last.
pub(crate) struct Series<'a> {
    device: &'a Device,
    _turn: MutexGuard<'a, ()>,
}

/// Held while one trial's process runs: nothing else of ours does.
pub(crate) struct Measuring<'a> {
    _quiet: RwLockWriteGuard<'a, ()>,
    _lock: Option<File>,
}

impl Device {
    pub(crate) fn new(builds: usize, lock: Option<PathBuf>) -> Self {
        let builds = Semaphore::new(builds.max(1));
        Self { builds, series: Mutex::new(()), quiet: RwLock::new(()), lock }
    }

    pub(crate) async fn build(&self) -> io::Result<Building<'_>> {
        let permit = self.builds.acquire().await.map_err(io::Error::other)?;
        let quiet = self.quiet.read().await;
        let lock = self.lock(File::try_lock_shared).await?;
        Ok(Building { _permit: permit, _quiet: quiet, _lock: lock })
    }

    pub(crate) async fn series(&self) -> Series<'_> {
        Series { device: self, _turn: self.series.lock().await }
    }

    /// Takes the lock between processes, in turn: whoever waits for it holds the turnstile, so that a process that
    /// lets go of the device after a trial can't have it back before those who came earlier.
    async fn lock(&self, try_lock: fn(&File) -> Result<(), TryLockError>) -> io::Result<Option<File>> {
        let Some(path) = &self.lock else { return Ok(None) };
        let turnstile = path.with_extension("turn");
        let _turn = acquire(&turnstile, File::try_lock).await?;
        acquire(path, try_lock).await.map(Some)
    }
}

/// Locks a file that is made if it isn't there; it is unlocked when it is dropped.
async fn acquire(path: &Path, try_lock: fn(&File) -> Result<(), TryLockError>) -> io::Result<File> {
    let file =
        open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    loop {
        match try_lock(&file) {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(INTERVAL).await,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

impl<'a> Series<'a> {
    pub(crate) async fn measure(&self) -> io::Result<Measuring<'a>> {
        let quiet = self.device.quiet.write().await;
        let lock = self.device.lock(File::try_lock).await?;
        Ok(Measuring { _quiet: quiet, _lock: lock })
    }
}

/// Another user's lock file can be read, and locked, but not written.
fn open(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(false).open(path).or_else(|_| File::open(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI32, Ordering};

    #[tokio::test]
    async fn a_trial_is_alone_even_among_two_evaluators() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Some(folder.path().join("device.lock"));
        let devices = [Arc::new(Device::new(2, lock.clone())), Arc::new(Device::new(2, lock))];
        let (building, measuring) = (Arc::new(AtomicI32::new(0)), Arc::new(AtomicI32::new(0)));
        let mut tasks = Vec::new();
        for (number, device) in devices.iter().cycle().take(8).cloned().enumerate() {
            let (building, measuring) = (building.clone(), measuring.clone());
            tasks.push(tokio::spawn(async move {
                for _ in 0..3 {
                    if number < 4 {
                        let guard = device.build().await.unwrap();
                        building.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(measuring.load(Ordering::SeqCst), 0);
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        assert_eq!(measuring.load(Ordering::SeqCst), 0);
                        building.fetch_sub(1, Ordering::SeqCst);
                        drop(guard);
                    } else {
                        let series = device.series().await;
                        let guard = series.measure().await.unwrap();
                        assert_eq!(measuring.fetch_add(1, Ordering::SeqCst), 0);
                        assert_eq!(building.load(Ordering::SeqCst), 0);
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        assert_eq!(building.load(Ordering::SeqCst), 0);
                        measuring.fetch_sub(1, Ordering::SeqCst);
                        drop(guard);
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_process_that_measures_all_the_time_lets_others_have_their_turn() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Some(folder.path().join("device.lock"));
        let busy = Arc::new(Device::new(1, lock.clone()));
        let greedy = tokio::spawn(async move {
            loop {
                let guard = busy.series().await.measure().await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
                drop(guard);
            }
        });
        let other = Device::new(1, lock);
        for _ in 0..5 {
            let turn = tokio::time::timeout(Duration::from_secs(10), other.build()).await;
            drop(turn.expect("a turn").unwrap());
        }
        greedy.abort();
    }

    #[tokio::test]
    async fn an_unusable_lock_file_is_an_error_that_names_it() {
        let device = Device::new(1, Some(PathBuf::from("/no/such/folder/device.lock")));
        let error = device.build().await.err().unwrap();
        assert!(error.to_string().contains("/no/such/folder/device."), "{error}");
    }
}
