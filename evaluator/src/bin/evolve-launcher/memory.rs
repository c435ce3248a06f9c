//! How much memory the command uses, as the operating system counts it.

use evaluator::order::MemoryUse;
use rustix::process::Pid;

/// Whose memory counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything that descends from a process: the command with whatever it started.
    #[cfg(target_os = "linux")]
    Below(Pid),
    /// A process that starts no others. It costs one small file to read.
    One(Pid),
}

pub(crate) struct Meter {
    scope: Scope,
    peak_bytes: u64,
    peak_since_asked: u64,
    /// Processes whose own record of their peak goes back further than the last question.
    stale: Vec<Pid>,
}

impl Meter {
    pub(crate) fn new(scope: Scope) -> Self {
        Self { scope, peak_bytes: 0, peak_since_asked: 0, stale: Vec::new() }
    }

    /// Resident bytes now. Pages that processes share count once for each.
    pub(crate) fn measure(&mut self) -> u64 {
        let bytes = self.processes().into_iter().map(system::resident_bytes).sum();
        self.saw(bytes);
        bytes
    }

    /// Resident bytes now, and their peak since the last time: the largest that was seen, or the largest that one of the
    /// processes had by the system's own record, which misses nothing.
    pub(crate) fn ask(&mut self) -> MemoryUse {
        let resident_bytes = self.measure();
        let processes = self.processes();
        for pid in processes.iter().filter(|pid| !self.stale.contains(pid)).copied().collect::<Vec<_>>() {
            self.saw(system::high_water_bytes(pid));
        }
        self.stale = processes.into_iter().filter(|pid| !system::forget_high_water(*pid)).collect();
        let peak_bytes = std::mem::replace(&mut self.peak_since_asked, resident_bytes);
        MemoryUse { resident_bytes, peak_bytes }
    }

    /// Largest resident figure so far.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    fn saw(&mut self, bytes: u64) {
        self.peak_bytes = self.peak_bytes.max(bytes);
        self.peak_since_asked = self.peak_since_asked.max(bytes);
    }

    fn processes(&self) -> Vec<Pid> {
        match self.scope {
            #[cfg(target_os = "linux")]
            Scope::Below(pid) => evaluator::descendants::of(pid),
            Scope::One(pid) => vec![pid],
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs;

    use rustix::process::Pid;

    // A process that has just ended has no memory.

    pub(super) fn resident_bytes(pid: Pid) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_nonzero())).unwrap_or_default();
        let pages: u64 = text.split(' ').nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
        pages * rustix::param::page_size() as u64
    }

    pub(super) fn high_water_bytes(pid: Pid) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    }

    /// Whether the system's record of the peak starts anew from here.
    pub(super) fn forget_high_water(pid: Pid) -> bool {
        fs::write(format!("/proc/{}/clear_refs", pid.as_raw_nonzero()), "5").is_ok()
    }
}

#[cfg(target_os = "macos")]
mod system {
    use rustix::process::Pid;

    /// What the system holds a process to account for: unlike the resident size it includes compressed memory and what a GPU
    /// uses on its behalf.
    #[expect(unsafe_code, reason = "no safe wrapper of proc_pid_rusage exists")]
    pub(super) fn resident_bytes(pid: Pid) -> u64 {
        let pid = pid.as_raw_nonzero().get();
        // SAFETY: rusage_info_v4 is plain numbers, for which all zeros is a value, and it is what the flavour asks for.
        let (result, info) = unsafe {
            let mut info: libc::rusage_info_v4 = std::mem::zeroed();
            let result = libc::proc_pid_rusage(pid, libc::RUSAGE_INFO_V4, (&raw mut info).cast());
            (result, info)
        };
        if result == 0 { info.ri_phys_footprint } else { 0 }
    }

    /// The system keeps none that could be reset.
    pub(super) fn high_water_bytes(_pid: Pid) -> u64 {
        0
    }

    pub(super) fn forget_high_water(_pid: Pid) -> bool {
        false
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
mod system {
    use rustix::process::Pid;

    pub(super) fn resident_bytes(_pid: Pid) -> u64 {
        0
    }

    pub(super) fn high_water_bytes(_pid: Pid) -> u64 {
        0
    }

    pub(super) fn forget_high_water(_pid: Pid) -> bool {
        false
    }
}
