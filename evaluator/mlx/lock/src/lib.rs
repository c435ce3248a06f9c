//! System call filters: what a tool may ask of the kernel, and what the trial runner may once it is about to load a candidate.
//!
//! Both are allow-lists. What is on neither list fails with `EPERM`, so that a library that only tries gets on without. What no
//! honest program of ours asks for (tracing, mounting, loading kernel code) kills the process with `SIGSYS`: an attack, not a
//! mistake. Files and networks are limited elsewhere too; here it is the kernel's surface.

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
mod tool;
#[cfg(target_os = "linux")]
mod trial;

#[cfg(target_os = "linux")]
pub use filter::Filter;
#[cfg(target_os = "linux")]
pub use tool::{Tool, tool};

use std::io;

/// Locks this process, all its threads, for good: from here on it can compute, use memory and threads, and read and write
/// what is open or what the sandbox lets it open, but not start a process, reach a network or another process.
#[cfg(target_os = "linux")]
pub fn lock() -> io::Result<()> {
    trial::filter()?.install_on_all_threads()
}

/// Does nothing here. On macOS a process can't narrow its own sandbox any further; the profile that the runner starts in
/// already lets it start no process. Elsewhere nothing of `evolve` runs.
#[cfg(not(target_os = "linux"))]
pub fn lock() -> io::Result<()> {
    Ok(())
}
