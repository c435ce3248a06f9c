//! The command with everything that it started.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use evaluator::order::How;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, wait};

use crate::child::Child;
use crate::memory::Meter;

/// How long dead processes may take to disappear. Only one stuck in the kernel takes that long.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Tree {
    child: Child,
    meter: Meter,
}

impl Tree {
    pub(crate) fn new(child: Child, meter: Meter) -> Self {
        Self { child, meter }
    }

    /// Something that `poll` can wait on until the child ends, where the system has it.
    pub(crate) fn end_signal(&self) -> Option<BorrowedFd<'_>> {
        self.child.end_signal()
    }

    pub(crate) fn child_ended(&self) -> bool {
        self.child.ended()
    }

    /// Its memory.
    pub(crate) fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    /// Kills what the command has started, and not the command. Whether nothing of it is left, as far as this system tells.
    #[cfg(target_os = "linux")]
    pub(crate) fn sweep(&self) -> bool {
        sweep_all_but(self.child.pid())
    }

    /// Elsewhere a process that left its group is not ours to find.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn sweep(&self) -> bool {
        true
    }

    /// Kills everything and waits until it is gone; says how the command itself ended.
    pub(crate) fn kill(&self) -> (How, u64) {
        // ESRCH only says that nobody is left. The child leads its group, unless that is what went wrong.
        let _ = kill_process(self.child.pid(), Signal::KILL);
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

/// Kills and reaps every process below this one but one; whether none is left.
#[cfg(target_os = "linux")]
fn sweep_all_but(kept: Pid) -> bool {
    use rustix::process::{getpid, waitpid};
    let started = Instant::now();
    loop {
        let others: Vec<Pid> =
            evaluator::descendants::of(getpid()).into_iter().filter(|pid| *pid != kept).collect();
        if others.is_empty() {
            return true;
        }
        if started.elapsed() > PATIENCE {
            return false;
        }
        for pid in others {
            let _ = kill_process(pid, Signal::KILL);
            // Ours are those that their parents have left.
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        std::thread::sleep(Duration::from_micros(500));
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
    use rustix::process::getpid;
    for pid in evaluator::descendants::of(getpid()) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Elsewhere a process that left the group is not ours to find; the sandbox forbids leaving it.
#[cfg(not(target_os = "linux"))]
fn kill_strays() {}
