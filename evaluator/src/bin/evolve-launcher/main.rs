//! Starts one command in its own process group and makes sure that nothing of it outlives the evaluator.
//!
//! One thread, no configuration: the order comes over the control socket, which is standard error (see
//! [`evaluator::order`]). Everything is killed when the command ends, when its deadline or memory limit is
//! reached, and when the evaluator's end of the socket closes. On Linux the command also dies with the
//! launcher itself, and processes that left the group come back to the launcher as their reaper.

mod capture;
mod child;
mod tree;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{ChildStderr, ExitCode};
use std::time::{Duration, Instant};

use evaluator::order::{Ended, How, News, Order, Tier};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use trial_protocol::{read_frame, write_frame};

use crate::capture::Capture;
use crate::child::Child;
use crate::tree::Tree;

/// How often the tree's memory is read: often enough for a limit of gigabytes, seldom enough to leave a timed
/// trial alone.
const MEMORY_INTERVAL: Duration = Duration::from_millis(50);

/// How often to ask whether the command has ended where the system can't tell by itself.
const POLLING_INTERVAL: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    // Nobody is left to tell if the control socket itself fails.
    match take_control().and_then(|control| serve(&control)) {
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

fn serve(control: &UnixStream) -> io::Result<()> {
    let Some(order) = read_frame::<Order>(control)? else { return Ok(()) };
    let ended = match Child::start(&order) {
        Ok((child, stderr)) => {
            write_frame(control, &News::Started { pid: child.id(), tier: Tier::None })?;
            let ended = watch(control, &order, child, stderr);
            // The evaluator may be gone; the killing is done either way.
            ended?
        }
        Err(error) => Ended {
            how: How::NotStarted { message: format!("{}: {error}", order.program.display()) },
            wall_seconds: 0.0,
            peak_bytes: 0,
            stderr: String::new(),
        },
    };
    write_frame(control, &News::Ended(ended))
}

/// Why we stop waiting.
enum Reason {
    ChildEnded,
    Deadline,
    Memory,
    Stopped,
}

fn watch(control: &UnixStream, order: &Order, child: Child, stderr: ChildStderr) -> io::Result<Ended> {
    let started = Instant::now();
    let mut capture = Capture::new(stderr, order.stderr_bytes)?;
    let mut tree = Tree::new(child);
    let reason = wait(control, order, started, &mut tree, &mut capture);
    // Whatever went wrong while waiting, first of all nothing may survive.
    let (status, usage_bytes) = tree.kill();
    let wall_seconds = started.elapsed().as_secs_f64();
    capture.drain();
    let how = match reason? {
        Reason::ChildEnded => status,
        Reason::Deadline => How::Deadline,
        Reason::Memory => How::Memory,
        Reason::Stopped => How::Stopped,
    };
    Ok(Ended { how, wall_seconds, peak_bytes: usage_bytes.max(tree.peak_bytes()), stderr: capture.text() })
}

fn wait(
    control: &UnixStream,
    order: &Order,
    started: Instant,
    tree: &mut Tree,
    capture: &mut Capture,
) -> io::Result<Reason> {
    let deadline = Duration::try_from_secs_f64(order.deadline_seconds).unwrap_or(Duration::MAX);
    loop {
        let left = deadline.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(Reason::Deadline);
        }
        let mut pause = left;
        if let Some(limit) = order.memory_bytes {
            if tree.measure() > limit {
                return Ok(Reason::Memory);
            }
            pause = pause.min(MEMORY_INTERVAL);
        }
        let events = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        let mut watched = vec![PollFd::new(control, events)];
        if let Some(stderr) = capture.pipe() {
            watched.push(PollFd::new(stderr, events));
        }
        match tree.end_signal() {
            Some(end) => watched.push(PollFd::from_borrowed_fd(end, events)),
            None => pause = pause.min(POLLING_INTERVAL),
        }
        match poll(&mut watched, Some(&timespec(pause))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // The evaluator never sends a second frame: any news from it is the end of the lifeline.
        let stopped = !watched[0].revents().is_empty();
        drop(watched);
        capture.read();
        if tree.child_ended() {
            return Ok(Reason::ChildEnded);
        }
        if stopped {
            return Ok(Reason::Stopped);
        }
    }
}

/// For `poll`, at most a day: its own limit is lower than `Duration`'s.
fn timespec(pause: Duration) -> Timespec {
    let pause = pause.min(Duration::from_hours(24));
    Timespec { tv_sec: pause.as_secs().cast_signed(), tv_nsec: i64::from(pause.subsec_nanos()) }
}
