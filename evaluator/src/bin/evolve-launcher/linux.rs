//! The sandbox on Linux, in two tiers.
//!
//! The full one: namespaces of its own for processes, mounts, network, hosts' names, IPC and cgroups, in which a first process
//! ([`init`]) builds a root that holds nothing but what the order names ([`root`]); then limits and no rights
//! ([`rights`]), Landlock ([`files`]) and a system call filter (crate `trial-lock`). As root the command becomes a user
//! that nobody else is; as an ordinary user it lives in a user namespace.
//!
//! The reduced one, where the system allows no such namespaces: the same without them. Other processes and the names of files can
//! be seen from it, and what it writes is limited by file only.

pub(crate) mod cgroup;
mod files;
mod init;
mod report;
mod rights;
mod root;
mod sys;
mod target;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use evaluator::order::{How, Order, Sandbox, Tier};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};
use trial_lock::Tool;
use trial_protocol::read_frame;

use self::init::Init;
use self::report::{Report, Step};
use self::rights::Identity;
use self::sys::Side;
use self::target::Fences;
use crate::child::{Child, Started};
use crate::export;

/// How long the set-up may take. It takes milliseconds, unless a folder to be read lies on a network that is down.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Starts a command in the best sandbox that this system allows, or not at all.
pub(crate) fn start(order: &Order, sandbox: &Sandbox, only_reduced: bool) -> Result<Started, How> {
    let why = if only_reduced {
        "it was asked for".to_owned()
    } else {
        match full(order, sandbox) {
            Ok(started) => return Ok(started),
            Err(Report::Unavailable { message }) => message,
            Err(report) => return Err(failed(report, "")),
        }
    };
    reduced(order, sandbox).map_err(|report| failed(report, &why))
}

/// The manner in which a command ended that didn't start. `why` says why it isn't the full sandbox.
fn failed(report: Report, why: &str) -> How {
    match report {
        Report::NotStarted { message } => How::NotStarted { message },
        Report::Unavailable { message } | Report::Failed { message } if why.is_empty() => {
            How::SandboxFailed { message }
        }
        Report::Unavailable { message } | Report::Failed { message } => How::SandboxFailed {
            message: format!(
                "{message} (in the reduced sandbox, since the full one can't be had: {why}; allow user namespaces, e.g. \
                 sysctl user.max_user_namespaces=10000, or run evolve as root)"
            ),
        },
        Report::Running | Report::Ended { .. } => {
            How::SandboxFailed { message: "it ended before it began; run it again".to_owned() }
        }
    }
}

/// A pipe whose ends no exec inherits.
fn pipe() -> Result<(OwnedFd, OwnedFd), Report> {
    Ok(pipe_with(PipeFlags::CLOEXEC).step(|| "making a pipe".to_owned())?)
}

fn full(order: &Order, sandbox: &Sandbox) -> Result<Started, Report> {
    const NAMESPACES: i32 = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    let is_root = Identity::is_root_with_users();
    let outside = Identity::ours();
    let inside =
        if is_root { Identity::unused().step(|| "choosing a user".to_owned())? } else { Identity::MAPPED };
    let network = if sandbox.network { 0 } else { libc::CLONE_NEWNET };
    let user = if is_root { 0 } else { libc::CLONE_NEWUSER };
    let (stderr, stderr_inside) = pipe()?;
    let (report, report_inside) = pipe()?;
    let (launcher_inside, launcher) = pipe()?;
    let export = open_export(sandbox)?;
    let cgroup = cgroup::Cgroup::new(order.memory_bytes, u64::from(sandbox.processes) + 1);
    let folder = cgroup.as_ref().map(cgroup::Cgroup::folder);
    match sys::fork(NAMESPACES | network | user, folder).step(|| "making namespaces".to_owned())? {
        Side::Child => {
            drop(launcher);
            let init = Init {
                order,
                sandbox,
                outside,
                inside,
                is_root,
                launcher: launcher_inside,
                stderr: stderr_inside,
                report: report_inside.into(),
                export,
            };
            init.run()
        }
        Side::Parent(pid) => {
            drop((stderr_inside, report_inside, launcher_inside));
            let report = await_start(pid, report.into())?;
            Ok(Started {
                child: Child::new(pid, Some((report, launcher))),
                stderr: stderr.into(),
                tier: Tier::Full,
                cgroup,
            })
        }
    }
}

fn reduced(order: &Order, sandbox: &Sandbox) -> Result<Started, Report> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .step(|| "becoming the reaper".to_owned())?;
    let is_root = Identity::is_root_with_users();
    let user = if is_root {
        let user = Identity::unused().step(|| "choosing a user".to_owned())?;
        std::os::unix::fs::chown(&order.directory, Some(user.uid), Some(user.gid))
            .step(|| format!("giving {} to the command", order.directory.display()))?;
        Some(user)
    } else {
        None
    };
    // A user's limit counts everything of that user, wherever it runs.
    let others = if is_root { 0 } else { threads_of(Identity::ours().uid) };
    let (stderr, stderr_inside) = pipe()?;
    let (report, report_inside) = pipe()?;
    // For the same reason as in the full tier, and so that a link that the command made can't be what is opened.
    drop(open_export(sandbox)?);
    let launcher = rustix::process::getpid();
    match sys::fork(0, None).step(|| "starting a process".to_owned())? {
        Side::Child => {
            let report = File::from(report_inside);
            let prepared = prepare_reduced(launcher, user);
            if let Err(failure) = prepared {
                let _ = trial_protocol::write_frame(&report, &Report::from(failure));
                std::process::exit(1)
            }
            let fences = Fences {
                files: files::within_system(
                    &sandbox.read,
                    &sandbox.devices,
                    &order.directory,
                    sandbox.network,
                ),
                tool: Tool {
                    network: sandbox.network,
                    devices: !sandbox.devices.is_empty(),
                    attributes: false,
                    // Of that user there is nobody else. Without one of its own, only if Landlock keeps them within.
                    signals: is_root,
                },
                others,
            };
            target::become_command(order, sandbox, &fences, &stderr_inside, &report)
        }
        Side::Parent(pid) => {
            drop((stderr_inside, report_inside));
            // The pipe ends with a successful exec.
            match await_report(pid, &report.into())? {
                None => Ok(Started {
                    child: Child::new(pid, None),
                    stderr: stderr.into(),
                    tier: Tier::Reduced,
                    cgroup: None,
                }),
                Some(report) => Err(report),
            }
        }
    }
}

/// What comes before the last steps that both tiers share.
fn prepare_reduced(launcher: Pid, user: Option<Identity>) -> Result<(), report::Failure> {
    rustix::process::setpgid(None, None).step(|| "making a process group".to_owned())?;
    if let Some(user) = user {
        rights::empty_bounding_set().step(|| "emptying the bounding set".to_owned())?;
        rights::become_user(user).step(|| "becoming another user".to_owned())?;
    }
    rights::drop_capabilities().step(|| "dropping capabilities".to_owned())?;
    rights::die_with_parent().step(|| "tying the command to its launcher".to_owned())?;
    // The launcher may have died before that.
    let orphan = rustix::process::getppid() != Some(launcher);
    if orphan { Err(rustix::io::Errno::PIPE).step(|| "the launcher died".to_owned()) } else { Ok(()) }
}

/// Waits for the sandbox to stand; gives back the pipe on which the rest will come.
fn await_start(pid: Pid, pipe: File) -> Result<File, Report> {
    match await_report(pid, &pipe)? {
        Some(Report::Running) => Ok(pipe),
        Some(report) => Err(report),
        None => Err(Report::Failed { message: "the sandbox's first process died; run it again".to_owned() }),
    }
}

/// The next report, if any comes before the pipe ends. After anything but a start the process is gone.
fn await_report(pid: Pid, pipe: &File) -> Result<Option<Report>, Report> {
    let mut watched = [PollFd::new(pipe, PollFlags::IN)];
    let ready = loop {
        match poll(&mut watched, Some(&PATIENCE)) {
            Ok(ready) => break ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break false,
        }
    };
    let report = if ready {
        read_frame(pipe).map_err(|error| Report::Failed { message: error.to_string() })
    } else {
        let message = "it took more than 30 seconds; are all folders that it reads at hand?".to_owned();
        Err(Report::Failed { message })
    };
    if !matches!(report, Ok(None | Some(Report::Running))) {
        let _ = kill_process(pid, Signal::KILL);
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    }
    report
}

/// What a sandbox's first process said last: how the command ended, and its peak memory.
pub(crate) fn end(report: &File) -> Option<(How, u64)> {
    match read_frame(report) {
        Ok(Some(Report::Ended { how, peak_bytes })) => Some((how, peak_bytes)),
        Ok(Some(report)) => Some((failed(report, ""), 0)),
        _ => None,
    }
}

fn open_export(sandbox: &Sandbox) -> Result<Option<File>, Report> {
    let Some(order) = &sandbox.export else { return Ok(None) };
    let file = export::open(order).map_err(|error| Report::Failed {
        message: format!("opening {} for the result: {error}", order.to.display()),
    })?;
    Ok(Some(file))
}

/// Threads of a user on this system now.
fn threads_of(uid: u32) -> u64 {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let folders = processes.flatten().map(|entry| entry.path());
    let own = folders.filter(|folder| folder.metadata().is_ok_and(|metadata| metadata.uid() == uid));
    own.map(|folder| threads(&folder)).sum()
}

fn threads(process: &Path) -> u64 {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}
