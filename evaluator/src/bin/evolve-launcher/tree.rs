//! The command with everything that it started.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use evaluator::order::How;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};

use crate::child::Child;

/// How long dead processes may take to disappear. Only one stuck in the kernel takes that long.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Tree {
    child: Child,
    peak_bytes: u64,
}

impl Tree {
    pub(crate) fn new(child: Child) -> Self {
        Self { child, peak_bytes: 0 }
    }

    /// Something that `poll` can wait on until the child ends, where the system has it.
    pub(crate) fn end_signal(&self) -> Option<BorrowedFd<'_>> {
        self.child.end_signal()
    }

    pub(crate) fn child_ended(&self) -> bool {
        self.child.ended()
    }

    /// Largest resident sum that [`Self::measure`] has seen, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    /// Resident bytes of the tree now. Pages that processes share count once for each.
    pub(crate) fn measure(&mut self) -> u64 {
        let bytes = processes(self.child.pid()).into_iter().map(resident_bytes).sum();
        self.peak_bytes = self.peak_bytes.max(bytes);
        bytes
    }

    /// Kills everything and waits until it is gone; says how the command itself ended.
    pub(crate) fn kill(&self) -> (How, u64) {
        // ESRCH only says that nobody is left.
        let _ = kill_process_group(self.child.pid(), Signal::KILL);
        let ended = self.child.reap();
        let started = Instant::now();
        // As their reaper we have children for as long as anything of the tree lives, even what left the group.
        while reap_others() && started.elapsed() < PATIENCE {
            let _ = kill_process_group(self.child.pid(), Signal::KILL);
            kill_strays();
            std::thread::sleep(Duration::from_millis(1));
        }
        ended
    }
}

/// Reaps whoever has ended; whether children are left.
fn reap_others() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

#[cfg(target_os = "linux")]
fn kill_strays() {
    use rustix::process::{getpid, kill_process};
    for pid in evaluator::descendants::of(getpid()) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Elsewhere a process that left the group is not ours to find; the sandbox forbids leaving it.
#[cfg(not(target_os = "linux"))]
fn kill_strays() {}

#[cfg(target_os = "linux")]
fn processes(_child: Pid) -> Vec<Pid> {
    evaluator::descendants::of(rustix::process::getpid())
}

#[cfg(not(target_os = "linux"))]
fn processes(child: Pid) -> Vec<Pid> {
    vec![child]
}

#[cfg(target_os = "linux")]
fn resident_bytes(pid: Pid) -> u64 {
    let path = format!("/proc/{}/statm", pid.as_raw_nonzero());
    // A process that has just ended has no memory.
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

#[cfg(target_os = "macos")]
#[expect(unsafe_code, reason = "no safe wrapper of proc_pidinfo exists")]
fn resident_bytes(pid: Pid) -> u64 {
    let size = size_of::<libc::proc_taskinfo>() as libc::c_int;
    // SAFETY: proc_taskinfo is plain numbers, for which all zeros is a value, and the buffer has the given size.
    let (written, info) = unsafe {
        let mut info: libc::proc_taskinfo = std::mem::zeroed();
        let pid = pid.as_raw_nonzero().get();
        let written = libc::proc_pidinfo(pid, libc::PROC_PIDTASKINFO, 0, (&raw mut info).cast(), size);
        (written, info)
    };
    if written == size { info.pti_resident_size } else { 0 }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn resident_bytes(_pid: Pid) -> u64 {
    0
}
