//! A cgroup (version 2) for one command, where we are allowed to make one: then the kernel itself keeps its memory limit.
//! Where not (most systems, for ordinary users), the launcher's watchdog does.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

pub(crate) struct Cgroup {
    path: PathBuf,
    folder: File,
}

impl Cgroup {
    /// Makes one below the one that we are in; none if that isn't ours to divide.
    pub(crate) fn new(memory_bytes: Option<u64>, processes: u64) -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let ours = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let mounted = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let top = mounted.into_iter().find(|top| top.join("cgroup.controllers").exists())?;
        Self::below(&top.join(ours), memory_bytes, processes).ok()
    }

    fn below(parent: &Path, memory_bytes: Option<u64>, processes: u64) -> io::Result<Self> {
        // Only what a parent hands down exists in its children.
        let handed_down = fs::read_to_string(parent.join("cgroup.subtree_control"))?;
        let has = |name| handed_down.split_whitespace().any(|word| word == name);
        if !has("memory") || !has("pids") {
            return Err(io::Error::other("memory and pids aren't handed down"));
        }
        let path = parent.join(format!("evolve-{}", std::process::id()));
        match fs::create_dir(&path) {
            // Of a launcher that was killed, with the same number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let cgroup = Self { folder: File::open(&path)?, path };
        cgroup.limit(memory_bytes, processes)?;
        Ok(cgroup)
    }

    fn limit(&self, memory_bytes: Option<u64>, processes: u64) -> io::Result<()> {
        fs::write(self.path.join("pids.max"), processes.to_string())?;
        if let Some(bytes) = memory_bytes {
            fs::write(self.path.join("memory.max"), bytes.to_string())?;
            // Where the kernel accounts for swap.
            let _ = fs::write(self.path.join("memory.swap.max"), "0");
            // All or none: half a command is of no use.
            let _ = fs::write(self.path.join("memory.oom.group"), "1");
        }
        Ok(())
    }

    /// For starting a process in it.
    pub(crate) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Whether the kernel has killed for lack of memory here.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let kills = events.lines().filter_map(|line| line.strip_prefix("oom_kill "));
        kills.filter_map(|count| count.trim().parse::<u64>().ok()).any(|count| count > 0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its processes are gone by now; if not, an empty folder is left behind.
        let _ = fs::remove_dir(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(handed_down: &str) -> tempfile::TempDir {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("cgroup.subtree_control"), handed_down).unwrap();
        parent
    }

    #[test]
    fn limits_are_written_where_they_are_handed_down() {
        let parent = parent("cpu memory pids\n");
        let cgroup = Cgroup::below(parent.path(), Some(1 << 30), 65).unwrap();
        let read = |name: &str| fs::read_to_string(cgroup.path.join(name)).unwrap();
        assert_eq!((read("memory.max"), read("pids.max")), ("1073741824".to_owned(), "65".to_owned()));
        assert_eq!((read("memory.swap.max"), read("memory.oom.group")), ("0".to_owned(), "1".to_owned()));
    }

    #[test]
    fn without_both_controllers_there_is_no_cgroup() {
        let parent = parent("cpu memory\n");
        assert!(Cgroup::below(parent.path(), Some(1 << 30), 65).is_err());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_kill_for_lack_of_memory_is_seen() {
        let parent = parent("memory pids");
        let cgroup = Cgroup::below(parent.path(), None, 65).unwrap();
        assert!(!cgroup.ran_out_of_memory());
        let events =
            |kills: u32| format!("low 0\nhigh 0\nmax 7\noom 1\noom_kill {kills}\noom_group_kill 0\n");
        fs::write(cgroup.path.join("memory.events"), events(0)).unwrap();
        assert!(!cgroup.ran_out_of_memory());
        fs::write(cgroup.path.join("memory.events"), events(3)).unwrap();
        assert!(cgroup.ran_out_of_memory());
    }
}
