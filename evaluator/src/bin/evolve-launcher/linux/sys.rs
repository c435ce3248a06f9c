//! System calls for which no safe wrapper exists.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::process::Pid;

/// Which side of a fork we are on.
pub(crate) enum Side {
    Child,
    Parent(Pid),
}

/// Forks into new namespaces and, if given, into a cgroup. Fails with `EPERM`, `ENOSPC`, `ENOSYS` or `EINVAL` where the
/// system has no such namespaces for us.
#[expect(unsafe_code, reason = "the C library's fork knows no namespaces")]
pub(crate) fn fork(namespaces: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let fd = cgroup.map(|cgroup| u64::from(cgroup.as_raw_fd().unsigned_abs()));
    // SAFETY: clone_args is plain numbers, for which all zeros is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(namespaces.unsigned_abs()) | fd.map_or(0, |_| CLONE_INTO_CGROUP);
    arguments.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    arguments.cgroup = fd.unwrap_or(0);
    // SAFETY: without a stack and CLONE_VM this is a fork, and this program has one thread only, so that the child may
    // do whatever the parent may.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(result).ok().and_then(Pid::from_raw).map_or(Side::Child, Side::Parent))
}

/// Sets attributes of a mount, and of all below it.
#[expect(unsafe_code, reason = "rustix has no mount_setattr")]
pub(crate) fn set_mount(mount: impl AsFd, attributes: u64, recursive: bool) -> io::Result<()> {
    let attr = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let fd = mount.as_fd().as_raw_fd();
    // SAFETY: the path is a C string, and the attributes are a live local of the given size.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, &raw const attr, size_of_val(&attr))
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets no open file but standard input, output and error outlive an exec.
#[expect(unsafe_code, reason = "rustix has no close_range")]
pub(crate) fn close_others_on_exec() -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: it takes plain numbers; the files stay open until the exec, so nobody's file is closed behind its back.
    let result = unsafe { libc::close_range(3, libc::c_uint::MAX, flags) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Closes every file but standard input, output, error and the given ones, for a process that has just been forked: what else
/// is open belongs to its parent, and nothing here will use it.
#[expect(unsafe_code, reason = "rustix has no close_range")]
pub(crate) fn close_all_but(kept: Vec<BorrowedFd<'_>>) {
    let mut kept: Vec<u32> = kept.iter().map(|file| file.as_raw_fd().unsigned_abs()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for last in kept.into_iter().chain([libc::c_uint::MAX]) {
        if first < last {
            let end = if last == libc::c_uint::MAX { last } else { last - 1 };
            // SAFETY: it takes plain numbers. The caller says that nobody here uses those files any more.
            unsafe { libc::close_range(first, end, 0) };
        }
        first = last.saturating_add(1).max(first);
    }
}

/// Kills every process that we can see but ourselves. Only for the first process of a namespace.
#[expect(unsafe_code, reason = "rustix can't signal everybody")]
pub(crate) fn kill_everybody_else() {
    // SAFETY: it takes plain numbers. That nobody is left is no error.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// A child that ended.
pub(crate) struct Dead {
    pub(crate) pid: i32,
    pub(crate) status: i32,
    /// Largest resident set of it and of those whom it waited for, in bytes.
    pub(crate) peak_bytes: u64,
}

/// Waits for any child; none if there is no child any more.
#[expect(unsafe_code, reason = "no safe wrapper of wait4 exists, and only it tells one child's memory")]
pub(crate) fn wait_for_anybody() -> Option<Dead> {
    loop {
        let mut status = 0;
        // SAFETY: rusage is plain numbers, for which all zeros is a value; both pointers are to live locals.
        let (pid, usage) = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            (libc::wait4(-1, &raw mut status, 0, &raw mut usage), usage)
        };
        if pid > 0 {
            let peak_bytes = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
            return Some(Dead { pid, status, peak_bytes });
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}
