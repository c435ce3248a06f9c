//! Private temporary folders, all within one folder of this process.
//!
//! MLX loads whatever library it finds under `$TMPDIR`, so every process gets a folder of its own. A killed
//! evaluator can't remove its folder; the next one does, recognising a dead owner by its unlocked lock file.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;

const PREFIX: &str = "evolve-evaluator-";
const LOCK: &str = "lock";

/// The folder of this process.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
    /// Locked for as long as we live.
    _lock: File,
}

impl Scratch {
    /// Makes a folder within `parent` and removes those of dead evaluators.
    pub(crate) fn new(parent: &Path) -> io::Result<Self> {
        remove_abandoned(parent);
        // Others may pass through, to folders that let them: as root a command runs as another user.
        let passage = fs::Permissions::from_mode(0o711);
        let folder = tempfile::Builder::new().prefix(PREFIX).permissions(passage).tempdir_in(parent)?;
        let lock = File::create(folder.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self { folder, _lock: lock })
    }

    /// A new empty folder that only we can enter.
    pub(crate) fn folder(&self, purpose: &str) -> io::Result<TempDir> {
        tempfile::Builder::new().prefix(&format!("{purpose}-")).tempdir_in(self.folder.path())
    }

    /// A new empty folder that whoever is shown it may read: in the sandbox commands run as another user.
    pub(crate) fn shared_folder(&self, purpose: &str) -> io::Result<TempDir> {
        let folder = self.folder(purpose)?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        Ok(folder)
    }
}

/// Writes a file that a command in the sandbox may read, whatever our umask says.
pub(crate) fn write_shared(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::write(path, content)?;
    fs::set_permissions(path, Permissions::from_mode(0o644))
}

/// Whether a name, with `/` between folders, has only plain parts and so stays within its folder.
pub(crate) fn is_inside(name: &str) -> bool {
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    !name.contains('\0')
        && Path::new(name).components().all(is_plain)
        && !name.split('/').any(|part| part.is_empty() || part == ".")
}

/// The same as [`write_shared`] for a file within a folder, which is made if it isn't there. The name [`is_inside`].
pub(crate) fn write_shared_within(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let mut inner = folder.to_owned();
    let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
    for part in std::iter::once("").chain(folders.split('/')) {
        inner.push(part);
        fs::create_dir_all(&inner)?;
        fs::set_permissions(&inner, Permissions::from_mode(0o755))?;
    }
    write_shared(&inner.join(file), content)
}

fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_abandoned(&entry.path()) {
            // Somebody else's folder stays; that is none of our business.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_abandoned(folder: &Path) -> bool {
    let lock: PathBuf = folder.join(LOCK);
    // Without a lock file it may be one that is being made right now.
    File::open(lock).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_owners_folder_is_removed_and_a_living_ones_stays() {
        let parent = tempfile::tempdir().unwrap();
        let dead = parent.path().join(format!("{PREFIX}dead"));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let living = Scratch::new(parent.path()).unwrap();
        let other = Scratch::new(parent.path()).unwrap();
        assert!(!dead.exists());
        assert!(living.folder.path().exists() && other.folder.path().exists());
    }
}
