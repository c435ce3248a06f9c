//! Starts one command, in a sandbox if the order says so, and makes sure that nothing of it outlives the evaluator.
//!
//! One thread, no configuration: the order comes over the control socket, which is standard error (see
//! [`evaluator::order`]). Everything is killed when the command ends, when its deadline or memory limit is
//! reached, and when the evaluator's end of the socket closes. On Linux the command also dies with the
//! launcher itself, and processes that left the group come back to the launcher as their reaper.
//!
//! Its arguments, of which the evaluator gives none: `--reduced`, for tests: as if this system allowed no user namespaces;
//! and `--probe`, see [`probe`].

mod capture;
mod child;
mod export;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
mod memory;
mod probe;
mod tree;
mod watch;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

use evaluator::order::{Confinement, Ended, How, News, Order, Sandbox, Tier};
use trial_protocol::{read_frame, write_frame};

use crate::child::{Child, Started};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, probe @ ..] = &arguments[..]
        && first == "--probe"
    {
        return probe::run(probe);
    }
    let only_reduced = arguments.iter().any(|argument| argument == "--reduced");
    // Nobody is left to tell if the control socket itself fails.
    match take_control().and_then(|control| serve(&control, only_reduced)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The control socket, off the standard error that a child or a panic message might reach.
fn take_control() -> io::Result<UnixStream> {
    let control: OwnedFd = io::stderr().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stderr(File::options().write(true).open("/dev/null")?)?;
    Ok(UnixStream::from(control))
}

fn serve(control: &UnixStream, only_reduced: bool) -> io::Result<()> {
    let Some(order) = read_frame::<Order>(control)? else { return Ok(()) };
    let started = match &order.confinement {
        Confinement::None => bare(&order),
        Confinement::Sandbox(sandbox) => confined(&order, sandbox, only_reduced),
    };
    let ended = match started {
        Ok(started) => {
            // The other ends of standard input and output must see when the command is gone.
            let null = File::options().read(true).write(true).open("/dev/null")?;
            rustix::stdio::dup2_stdin(&null)?;
            rustix::stdio::dup2_stdout(&null)?;
            // If the evaluator is gone, that shows while watching.
            let _ = write_frame(control, &News::Started { pid: started.child.id(), tier: started.tier });
            watch::watch(control, &order, started)?
        }
        Err(how) => Ended { how, wall_seconds: 0.0, peak_bytes: 0, stderr: String::new() },
    };
    if let Confinement::Sandbox(sandbox) = &order.confinement
        && let Some(export) = &sandbox.export
        && ended.how != (How::Exited { code: 0 })
    {
        export::discard(export);
    }
    write_frame(control, &News::Ended(ended))
}

fn bare(order: &Order) -> Result<Started, How> {
    let mut command = Command::new(&order.program);
    command.args(&order.arguments);
    let started = Child::start(order, command, Tier::None);
    started.map_err(|error| How::NotStarted { message: format!("{}: {error}", order.program.display()) })
}

#[cfg(target_os = "linux")]
fn confined(order: &Order, sandbox: &Sandbox, only_reduced: bool) -> Result<Started, How> {
    linux::start(order, sandbox, only_reduced)
}

#[cfg(target_os = "macos")]
fn confined(order: &Order, sandbox: &Sandbox, _only_reduced: bool) -> Result<Started, How> {
    macos::start(order, sandbox)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn confined(_order: &Order, _sandbox: &Sandbox, _only_reduced: bool) -> Result<Started, How> {
    Err(How::SandboxFailed { message: "there is no sandbox for this system; use Linux or macOS".to_owned() })
}
