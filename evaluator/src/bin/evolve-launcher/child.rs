//! The command itself: started, waited for, accounted.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use evaluator::order::{How, Order, Tier};
use rustix::process::Pid;

/// A command that runs.
pub(crate) struct Started {
    pub(crate) child: Child,
    /// The other end of its standard error.
    pub(crate) stderr: File,
    pub(crate) tier: Tier,
    /// Goes when it is gone.
    #[cfg(target_os = "linux")]
    pub(crate) cgroup: Option<crate::linux::cgroup::Cgroup>,
}

pub(crate) struct Child {
    pid: Pid,
    /// Becomes readable when the child ends; none where the system has no such thing.
    pidfd: Option<OwnedFd>,
    /// If the child is a sandbox's first process: where it tells how the command ended, and what it knows us alive by.
    sandbox: Option<(File, OwnedFd)>,
}

impl Child {
    pub(crate) fn new(pid: Pid, sandbox: Option<(File, OwnedFd)>) -> Self {
        Self { pid, pidfd: open_pidfd(pid), sandbox }
    }

    /// Starts a command that isn't confined, or that confines itself, as leader of a new process group, with our standard
    /// input and output.
    pub(crate) fn start(order: &Order, mut command: Command, tier: Tier) -> io::Result<Started> {
        #[cfg(target_os = "linux")]
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        command
            .env_clear()
            .envs(&order.environment)
            .current_dir(&order.directory)
            .process_group(0)
            .stdin(Stdio::inherit())
            .stdout(Stdio::inherit())
            .stderr(Stdio::piped());
        #[cfg(target_os = "linux")]
        die_with_launcher(&mut command);
        let mut child = command.spawn()?;
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no pipe for standard error"))?;
        Ok(Started {
            child: Self::new(Pid::from_child(&child), None),
            stderr: OwnedFd::from(stderr).into(),
            tier,
            #[cfg(target_os = "linux")]
            cgroup: None,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Something that `poll` can wait on until the child ends. Without it the caller has to ask.
    pub(crate) fn end_signal(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Whether it has ended. Leaves it a zombie, so that its number can't be given to another process group
    /// before we have killed this one.
    pub(crate) fn ended(&self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::Pid(self.pid), options), Ok(Some(_)))
    }

    /// Reaps it; with its peak resident set in bytes. Blocks until it has ended.
    #[expect(unsafe_code, reason = "no safe wrapper of wait4 exists, and only it tells one child's memory")]
    pub(crate) fn reap(&self) -> (How, u64) {
        let mut status = 0;
        // SAFETY: rusage is plain numbers, for which all zeros is a value; both pointers are to live locals.
        let (reaped, usage) = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            let pid = self.pid.as_raw_nonzero().get();
            (libc::wait4(pid, &raw mut status, 0, &raw mut usage), usage)
        };
        if reaped < 0 {
            return (How::NotStarted { message: io::Error::last_os_error().to_string() }, 0);
        }
        // Linux counts kilobytes, macOS bytes.
        let unit = if cfg!(target_os = "linux") { 1024 } else { 1 };
        let peak_bytes = u64::try_from(usage.ru_maxrss).unwrap_or(0) * unit;
        #[cfg(target_os = "linux")]
        if let Some((report, _)) = &self.sandbox {
            // What the first process itself used is ours, and it tells the command's end if it lived to see it.
            return crate::linux::end(report).unwrap_or((how(status), 0));
        }
        (how(status), peak_bytes)
    }
}

/// The manner, from what `wait` said.
pub(crate) fn how(status: i32) -> How {
    if libc::WIFSIGNALED(status) {
        How::Signaled { signal: libc::WTERMSIG(status) }
    } else {
        How::Exited { code: libc::WEXITSTATUS(status) }
    }
}

#[cfg(target_os = "linux")]
fn open_pidfd(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn open_pidfd(_pid: Pid) -> Option<OwnedFd> {
    None
}

/// Has the kernel kill the command when the launcher dies, by whatever signal.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "pre_exec is the only way to do something between fork and exec")]
fn die_with_launcher(command: &mut Command) {
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
    let launcher = getpid();
    // SAFETY: between fork and exec this makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The launcher may have died just before.
            if getppid() == Some(launcher) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
    }
}
