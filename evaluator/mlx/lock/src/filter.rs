//! A filter as a stack of three programs, of which the kernel takes the strictest answer.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// System calls with the conditions under which they are meant; without any, always.
pub(crate) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// A filter, ready to be installed. Programs for another machine than this one's are refused by it too (32-bit calls
/// on a 64-bit system).
#[derive(Debug, Clone)]
pub struct Filter {
    programs: Vec<BpfProgram>,
}

impl Filter {
    /// `allowed` passes, `deadly` kills the process, anything else fails with `EPERM`.
    pub(crate) fn new(mut allowed: Rules, deadly: &[i64]) -> io::Result<Self> {
        // A filter can't see this call's flags, which lie in memory. The C library takes "no such call" for an older
        // kernel and asks with `clone`, whose flags can be seen.
        allowed.insert(libc::SYS_clone3, Vec::new());
        let eperm = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let enosys = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
        let programs = vec![
            compile(allowed, eperm, SeccompAction::Allow)?,
            compile([(libc::SYS_clone3, Vec::new())].into(), SeccompAction::Allow, enosys)?,
            compile(always(deadly).collect(), SeccompAction::Allow, SeccompAction::KillProcess)?,
        ];
        Ok(Self { programs })
    }

    /// Installs it on this thread, for good; threads and processes that it starts inherit it.
    pub fn install(&self) -> io::Result<()> {
        // The deadly calls first: once the allow-list is in place it judges the installing too.
        self.programs.iter().rev().try_for_each(|program| seccompiler::apply_filter(program)).map_err(other)
    }

    /// The same for every thread of the process.
    pub(crate) fn install_on_all_threads(&self) -> io::Result<()> {
        let mut programs = self.programs.iter().rev();
        programs.try_for_each(|program| seccompiler::apply_filter_all_threads(program)).map_err(other)
    }
}

fn compile(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> io::Result<BpfProgram> {
    let here = TargetArch::try_from(std::env::consts::ARCH).map_err(other)?;
    let filter = SeccompFilter::new(rules, otherwise, matched, here).map_err(other)?;
    filter.try_into().map_err(other)
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

/// Calls without conditions.
pub(crate) fn always(calls: &[i64]) -> impl Iterator<Item = (i64, Vec<SeccompRule>)> {
    calls.iter().map(|call| (*call, Vec::new()))
}

/// A rule that holds if all of its conditions do.
pub(crate) fn rule(conditions: Vec<SeccompCondition>) -> io::Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(other)
}

/// An argument, counted from 0, has this value. Compares 32 bits, as the kernel does for these calls.
pub(crate) fn is(argument: u8, value: u64) -> io::Result<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).map_err(other)
}

/// The masked bits of an argument have this value.
pub(crate) fn masked(argument: u8, mask: u64, value: u64) -> io::Result<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(mask), value)
        .map_err(other)
}
