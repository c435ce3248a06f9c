//! Waits for a command's end, or brings it about.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use evaluator::order::{Ask, Confinement, Ended, How, News, Order, Profile, Tier};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use trial_protocol::{read_frame, write_frame};

use crate::capture::Capture;
use crate::child::Started;
use crate::export;
use crate::memory::{Meter, Scope};
use crate::tree::Tree;

/// How often memory is measured: often enough for a limit of gigabytes.
const MEMORY_INTERVAL: Duration = Duration::from_millis(20);

/// The same during a trial, which must not be disturbed.
const MEMORY_INTERVAL_OF_TRIAL: Duration = Duration::from_millis(50);

/// How often to ask whether the command has ended where the system can't tell by itself.
const POLLING_INTERVAL: Duration = Duration::from_millis(5);

/// Why we stop waiting.
enum Reason {
    ChildEnded,
    Deadline,
    Memory,
    Stopped,
}

/// Stays until the command and everything that it started are gone, and its result is taken out.
pub(crate) fn watch(control: &UnixStream, order: &Order, started: Started) -> io::Result<Ended> {
    let clock = Instant::now();
    let tier = started.tier;
    #[cfg(target_os = "linux")]
    let cgroup = started.cgroup;
    let mut capture = Capture::new(started.stderr, order.stderr_bytes)?;
    let scope = scope(order, &started.child, tier);
    let mut tree = Tree::new(started.child, Meter::new(scope));
    let reason = wait(control, order, clock, &mut tree, &mut capture);
    // Whatever went wrong while waiting, first of all nothing may survive.
    let (status, usage_bytes) = tree.kill();
    let wall_seconds = clock.elapsed().as_secs_f64();
    capture.drain();
    let mut how = match reason? {
        Reason::ChildEnded => status,
        Reason::Deadline => How::Deadline,
        Reason::Memory => How::Memory,
        Reason::Stopped => How::Stopped,
    };
    #[cfg(target_os = "linux")]
    if matches!(how, How::Signaled { .. } | How::Exited { .. })
        && cgroup.is_some_and(|cgroup| cgroup.ran_out_of_memory())
    {
        how = How::Memory;
    }
    // In the full sandbox its first process has done this: the scratch folder is gone with it.
    if tier != Tier::Full || cfg!(not(target_os = "linux")) {
        how = take_out(order, how);
    }
    let peak_bytes = usage_bytes.max(tree.meter().peak_bytes());
    Ok(Ended { how, wall_seconds, peak_bytes, stderr: capture.text() })
}

fn take_out(order: &Order, how: How) -> How {
    let Confinement::Sandbox(sandbox) = &order.confinement else { return how };
    let (How::Exited { code: 0 }, Some(export)) = (&how, &sandbox.export) else { return how };
    let copied = match export::open(export) {
        Ok(to) => export::copy(export, &order.directory, &to),
        Err(error) => Err(format!("{} can't be opened: {error}", export.to.display())),
    };
    match copied {
        Ok(()) => how,
        Err(message) => How::NotExported { message },
    }
}

/// Whose memory counts.
#[cfg(target_os = "linux")]
fn scope(order: &Order, child: &crate::child::Child, tier: Tier) -> Scope {
    // In the full sandbox the child is the sandbox's own first process, which doesn't count.
    let above = if tier == Tier::Full { child.pid() } else { rustix::process::getpid() };
    let is_trial =
        matches!(&order.confinement, Confinement::Sandbox(sandbox) if sandbox.profile == Profile::Trial);
    match evaluator::descendants::children(above)[..] {
        // It is a trusted program until it locks itself, after which it can't start others.
        [runner] if is_trial => Scope::One(runner),
        _ => Scope::Below(above),
    }
}

#[cfg(not(target_os = "linux"))]
fn scope(_order: &Order, child: &crate::child::Child, _tier: Tier) -> Scope {
    Scope::One(child.pid())
}

fn wait(
    control: &UnixStream,
    order: &Order,
    clock: Instant,
    tree: &mut Tree,
    capture: &mut Capture,
) -> io::Result<Reason> {
    let deadline = Duration::try_from_secs_f64(order.deadline_seconds).unwrap_or(Duration::MAX);
    let interval = match &order.confinement {
        Confinement::Sandbox(sandbox) if sandbox.profile == Profile::Trial => MEMORY_INTERVAL_OF_TRIAL,
        _ => MEMORY_INTERVAL,
    };
    let mut measured = None::<Instant>;
    loop {
        let left = deadline.saturating_sub(clock.elapsed());
        if left.is_zero() {
            return Ok(Reason::Deadline);
        }
        let mut pause = left;
        if let Some(limit) = order.memory_bytes {
            let since = measured.map(|at| at.elapsed()).filter(|since| *since < interval);
            if since.is_none() {
                measured = Some(Instant::now());
                if tree.meter().measure() > limit {
                    return Ok(Reason::Memory);
                }
            }
            pause = pause.min(interval.saturating_sub(since.unwrap_or_default()));
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
        let is_called = !watched[0].revents().is_empty();
        drop(watched);
        capture.read();
        if tree.child_ended() {
            return Ok(Reason::ChildEnded);
        }
        // Anything but a question is the end of the lifeline.
        if is_called {
            match read_frame(control) {
                Ok(Some(Ask::Memory)) => {
                    // Whoever asks and goes without waiting is seen to be gone in the next round.
                    let _ = write_frame(control, &News::Memory(tree.meter().ask()));
                }
                Ok(Some(Ask::Sweep)) => {
                    let _ = write_frame(control, &News::Swept { is_clean: tree.sweep() });
                }
                Ok(None) | Err(_) => return Ok(Reason::Stopped),
            }
        }
    }
}

/// For `poll`, at most a day: its own limit is lower than `Duration`'s.
fn timespec(pause: Duration) -> Timespec {
    let pause = pause.min(Duration::from_hours(24));
    Timespec { tv_sec: pause.as_secs().cast_signed(), tv_nsec: i64::from(pause.subsec_nanos()) }
}
