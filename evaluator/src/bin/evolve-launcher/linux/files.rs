//! Landlock: which files a command may use, whatever the mounts say, and no way to other processes.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

/// What may be done where.
pub(crate) struct Rules<'a> {
    /// Read and execute.
    pub(crate) read: Vec<&'a Path>,
    /// Read and write.
    pub(crate) devices: Vec<&'a Path>,
    /// Read and write what is there: `/proc`, for a GPU's driver, which names its threads by writing to it and gives up if it can't.
    pub(crate) processes: Option<&'a Path>,
    /// Anything.
    pub(crate) scratch: &'a Path,
    pub(crate) network: bool,
}

/// The newest version whose rights are all known here. An older kernel enforces those it knows.
const NEWEST: ABI = ABI::V7;

/// Restricts this thread and whatever it starts, for good. Fails where the kernel has no Landlock. Says whether the kernel
/// also keeps signals within (Linux 6.12).
pub(crate) fn restrict(rules: &Rules) -> io::Result<bool> {
    let devices = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(NEWEST)).map_err(other)?;
    ruleset = ruleset.scope(Scope::from_all(NEWEST)).map_err(other)?;
    if !rules.network {
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST)).map_err(other)?;
    }
    let mut ruleset = ruleset.create().map_err(other)?;
    let everything: BitFlags<AccessFs> =
        AccessFs::from_all(NEWEST) & !AccessFs::MakeChar & !AccessFs::MakeBlock;
    let read = rules.read.iter().map(|path| (*path, AccessFs::from_read(NEWEST)));
    let devices = rules.devices.iter().map(|path| (*path, devices));
    let change = AccessFs::from_read(NEWEST) | AccessFs::WriteFile | AccessFs::Truncate;
    let processes = rules.processes.iter().map(|path| (*path, change));
    for (path, access) in read.chain(devices).chain(processes).chain([(rules.scratch, everything)]) {
        let file = PathFd::new(path).map_err(other)?;
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
        ruleset = ruleset.add_rule(PathBeneath::new(file, access)).map_err(other)?;
    }
    let status = ruleset.restrict_self().map_err(other)?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => Err(io::Error::other(
            "this kernel has no Landlock; it needs Linux 5.13 or newer with `landlock` among its security modules \
             (boot with lsm=landlock,... or use another kernel)",
        )),
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok(effective_abi >= ABI::V6),
        _ => Ok(false),
    }
}

/// Rules for a root that holds nothing but what may be seen.
pub(crate) fn within_own_root(scratch: &Path, has_devices: bool, network: bool) -> Rules<'_> {
    let processes = has_devices.then_some(Path::new("/proc"));
    Rules { read: vec![Path::new("/")], devices: vec![Path::new("/dev")], processes, scratch, network }
}

/// Rules for the system's own root.
pub(crate) fn within_system<'a>(
    read: &'a [PathBuf],
    devices: &'a [PathBuf],
    scratch: &'a Path,
    network: bool,
) -> Rules<'a> {
    let usual = [Path::new("/dev/null"), Path::new("/dev/urandom")];
    Rules {
        // Nothing else keeps a command from other processes' files there but their owner.
        processes: (!devices.is_empty()).then_some(Path::new("/proc/self")),
        read: read.iter().map(PathBuf::as_path).collect(),
        devices: usual.into_iter().chain(devices.iter().map(PathBuf::as_path)).collect(),
        scratch,
        network,
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
