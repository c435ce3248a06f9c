//! The filter for the trial runner once a candidate is about to be loaded.

use std::io;

use crate::calls::{COMPUTE, DEADLY, FILES};
use crate::filter::{Filter, Rules, always, is, masked, rule};

/// A thread of this process, as the C library starts one.
const THREAD: i32 = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND;

/// What no runner does any more: start a program, open a socket.
const LATE: &[i64] = &[libc::SYS_execve, libc::SYS_execveat, libc::SYS_socket];

pub(crate) fn filter() -> io::Result<Filter> {
    let mut allowed: Rules = always(COMPUTE).chain(always(FILES)).collect();
    let thread = u64::from(THREAD.unsigned_abs());
    allowed.insert(libc::SYS_clone, vec![rule(vec![masked(0, thread, thread)?])?]);
    // A C library's `abort` is a signal to oneself.
    let own = u64::from(std::process::id());
    allowed.insert(libc::SYS_tgkill, vec![rule(vec![is(0, own)?])?]);
    // Names of threads and of memory.
    let names = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA];
    let names = names.iter().map(|name| rule(vec![is(0, u64::from(name.unsigned_abs()))?]));
    allowed.insert(libc::SYS_prctl, names.collect::<io::Result<_>>()?);
    allowed.insert(libc::SYS_prlimit64, vec![rule(vec![is(0, 0)?])?]);
    // Which requests the sandbox's own filter has said already: a GPU's driver needs them.
    allowed.insert(libc::SYS_ioctl, Vec::new());
    Filter::new(allowed, &[DEADLY, LATE].concat())
}
