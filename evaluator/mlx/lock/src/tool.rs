//! The filter for compilers, interpreters and the trial runner's start.

use std::io;

use seccompiler::SeccompRule;

use crate::calls::{ATTRIBUTES, COMPUTE, DEADLY, FILES, LISTENING, NETWORK, SIGNALS, TOOLS};
use crate::filter::{Filter, Rules, always, is, masked, rule};

/// What the filter leaves open beyond computing, files and processes of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a group of calls of its own")]
pub struct Tool {
    /// Internet sockets.
    pub network: bool,
    /// Requests to device drivers.
    pub devices: bool,
    /// Changing owners, modes and times of files: harmless where other files can't be reached for writing.
    pub attributes: bool,
    /// Signals to other processes: harmless where none but one's own can be reached.
    pub signals: bool,
}

/// Namespaces that `clone` could make.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Compiles the filter.
pub fn tool(open: Tool) -> io::Result<Filter> {
    let mut allowed: Rules = always(COMPUTE).chain(always(FILES)).chain(always(TOOLS)).collect();
    allowed.insert(libc::SYS_clone, vec![rule(vec![masked(0, bits(NAMESPACES), 0)?])?]);
    allowed.insert(libc::SYS_prctl, any_of(0, PRCTL)?);
    // Only one's own: 0 is the caller.
    allowed.insert(libc::SYS_prlimit64, any_of(0, &[0])?);
    // With -1 it only asks.
    allowed.insert(libc::SYS_personality, any_of(0, &[0xffff_ffff])?);
    allowed.insert(libc::SYS_mknodat, vec![rule(vec![masked(2, bits(libc::S_IFMT), bits(libc::S_IFIFO))?])?]);
    #[cfg(target_arch = "x86_64")]
    allowed.insert(libc::SYS_mknod, vec![rule(vec![masked(1, bits(libc::S_IFMT), bits(libc::S_IFIFO))?])?]);
    allowed.insert(libc::SYS_socketpair, local()?);
    if open.devices {
        allowed.insert(libc::SYS_ioctl, Vec::new());
        // CUDA listens on a socket by which processes could share memory. Nobody else is in this sandbox's network.
        allowed.insert(libc::SYS_socket, local()?);
        allowed.extend(always(LISTENING));
    } else {
        allowed.insert(libc::SYS_ioctl, any_of(1, IOCTL)?);
    }
    if open.attributes {
        allowed.extend(always(ATTRIBUTES));
    }
    if open.signals {
        allowed.extend(always(SIGNALS));
    }
    if open.network {
        allowed.extend(always(NETWORK));
        let internet = any_of(0, &[libc::AF_INET, libc::AF_INET6].map(bits))?;
        allowed.entry(libc::SYS_socket).or_default().extend(internet);
    }
    Filter::new(allowed, DEADLY)
}

/// Naming a thread or memory, asking about oneself, and giving up more rights.
const PRCTL: &[u64] = &[
    libc::PR_SET_PDEATHSIG as u64,
    libc::PR_GET_PDEATHSIG as u64,
    libc::PR_GET_DUMPABLE as u64,
    libc::PR_SET_NAME as u64,
    libc::PR_GET_NAME as u64,
    libc::PR_SET_SECCOMP as u64,
    libc::PR_GET_SECCOMP as u64,
    libc::PR_CAPBSET_READ as u64,
    libc::PR_SET_TIMERSLACK as u64,
    libc::PR_GET_TIMERSLACK as u64,
    libc::PR_SET_NO_NEW_PRIVS as u64,
    libc::PR_GET_NO_NEW_PRIVS as u64,
    libc::PR_SET_THP_DISABLE as u64,
    libc::PR_GET_THP_DISABLE as u64,
    libc::PR_SET_VMA as u64,
];

/// Questions about a terminal, and flags of an open file. Nothing that types into a terminal.
const IOCTL: &[u64] =
    &[libc::TCGETS, libc::TIOCGWINSZ, libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX, libc::FIONCLEX];

/// Pairs of connected sockets, and sockets of one machine. Not the kind that could send to any address.
fn local() -> io::Result<Vec<SeccompRule>> {
    let local = |kind| rule(vec![is(0, bits(libc::AF_UNIX))?, masked(1, 0xf, bits(kind))?]);
    Ok(vec![local(libc::SOCK_STREAM)?, local(libc::SOCK_SEQPACKET)?])
}

/// One rule for each value that an argument may have.
fn any_of(argument: u8, values: &[u64]) -> io::Result<Vec<SeccompRule>> {
    values.iter().map(|value| rule(vec![is(argument, *value)?])).collect()
}

fn bits<T: TryInto<i64>>(value: T) -> u64 {
    value.try_into().map_or(0, i64::cast_unsigned)
}
