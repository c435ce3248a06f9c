//! Shuts this process off from others, since it holds API keys.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Resource, Rlimit, setrlimit};

/// From now on neither this process nor a child leaves a core file; children don't inherit files that our caller left open; and (on
/// Linux) no other process of the same user can read this one's memory, environment or open files. To be called before anything
/// else.
pub fn close() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    keep_files()?;
    // A program started from here is open to its user again: it is given no key.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// What is open beyond the three standard streams is for this process alone.
fn keep_files() -> io::Result<()> {
    for entry in std::fs::read_dir("/dev/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        if let Some(number) = number.filter(|number| *number > 2) {
            #[expect(unsafe_code, reason = "files that a caller left open are known by number only")]
            // SAFETY: it was open a moment ago, this is the only thread, and nothing is closed in between.
            let file = unsafe { BorrowedFd::borrow_raw(number) };
            // The listing itself may be among them.
            let _ = fcntl_setfd(file, FdFlags::CLOEXEC);
        }
    }
    Ok(())
}
