//! Who the sandboxed command is, what it may do as such, and how much of everything it may use.

use std::fs;
use std::io;

use evaluator::order::{Order, Sandbox};
use rustix::process::{
    DumpableBehavior, Gid, Resource, Rlimit, Signal, Uid, getegid, geteuid, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// Address space for the program itself, its libraries and threads' stacks, beside the memory that it may use.
const ADDRESS_SPACE: u64 = 4 << 30;

/// Open files of one process. Linkers open each library of a big program.
const OPEN_FILES: u64 = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Identity {
    pub(crate) fn ours() -> Self {
        Self { uid: geteuid().as_raw(), gid: getegid().as_raw() }
    }

    /// What an ordinary user becomes in a user namespace of its own. Any number but root's.
    pub(crate) const MAPPED: Self = Self { uid: 1000, gid: 1000 };

    /// A user that nobody else is: in a range that no system gives to users or containers, and a number of its own for
    /// each launcher, so that two sandboxes can't meet. Within a container that has fewer users, one of those.
    pub(crate) fn unused() -> io::Result<Self> {
        let ranges = fs::read_to_string("/proc/self/uid_map")?;
        let has = |uid: u32| {
            ranges.lines().any(|line| {
                let mut fields = line.split_whitespace().map(|field| field.parse::<u64>().unwrap_or(0));
                let (first, count) = (fields.next().unwrap_or(0), fields.nth(1).unwrap_or(0));
                (first..first + count).contains(&u64::from(uid))
            })
        };
        let number = std::process::id();
        let candidates = [2_000_000_000 + number % 100_000_000, 40_000 + number % 20_000];
        let uid = candidates.into_iter().find(|uid| has(*uid));
        let uid = uid.ok_or_else(|| io::Error::other("no unused user id; run evolve as an ordinary user"))?;
        Ok(Self { uid, gid: uid })
    }

    /// Whether we are root and can become somebody else.
    pub(crate) fn is_root_with_users() -> bool {
        geteuid().is_root() && Self::unused().is_ok()
    }
}

/// Gives ourselves an id in the user namespace that we are in, which has none yet.
pub(crate) fn map(outside: Identity, inside: Identity) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{} {} 1", inside.uid, outside.uid))?;
    fs::write("/proc/self/gid_map", format!("{} {} 1", inside.gid, outside.gid))
}

/// Gives up root for good.
pub(crate) fn become_user(Identity { uid, gid }: Identity) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    Ok(set_thread_res_uid(uid, uid, uid)?)
}

/// No program can bring these back.
pub(crate) fn empty_bounding_set() -> io::Result<()> {
    for capability in 0..64 {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << capability)) {
            Ok(()) => {}
            // The kernel knows no further ones.
            Err(rustix::io::Errno::INVAL) if capability > 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Gives up every capability, and the means to get any by starting a program.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(set_no_new_privs(true)?)
}

/// Nobody of the same user can look into this process any more, or trace it.
pub(crate) fn hide() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// This process dies with its parent. Must be said again after each change of user.
pub(crate) fn die_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Limits of each process. `others` is how many processes count as this user's own although they aren't the command's.
pub(crate) fn limit(order: &Order, sandbox: &Sandbox, others: u64) -> io::Result<()> {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    // A backstop: the launcher's own deadline comes first.
    let seconds = (order.deadline_seconds.clamp(0.0, 1e9).ceil() as u64 + 1) * processors;
    let mut limits = vec![
        (Resource::Core, 0),
        (Resource::Fsize, sandbox.scratch_bytes),
        (Resource::Nofile, OPEN_FILES),
        (Resource::Cpu, seconds),
        (Resource::Nproc, u64::from(sandbox.processes) + others),
        (Resource::Msgqueue, 0),
    ];
    // A GPU's driver maps far more than it uses.
    if let Some(bytes) = order.memory_bytes
        && sandbox.devices.is_empty()
    {
        limits.push((Resource::As, bytes.saturating_add(ADDRESS_SPACE)));
    }
    for (resource, limit) in limits {
        let had = rustix::process::getrlimit(resource).maximum;
        let limit = Some(had.map_or(limit, |had| had.min(limit)));
        setrlimit(resource, Rlimit { current: limit, maximum: limit })?;
    }
    Ok(())
}
