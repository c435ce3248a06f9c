//! The first process of a sandbox's own process namespace: builds the sandbox, starts the command in it, reaps whoever
//! is left over, takes the result out. When it dies, everything in the sandbox dies.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use evaluator::order::{How, Order, Sandbox};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use trial_lock::Tool;
use trial_protocol::{read_frame, write_frame};

use super::report::{Failure, Report, Step};
use super::rights::{self, Identity};
use super::sys::{self, Side};
use super::target::{self, Fences};
use super::{files, root};
use crate::child::how;
use crate::export;

/// What the launcher hands down.
pub(crate) struct Init<'a> {
    pub(crate) order: &'a Order,
    pub(crate) sandbox: &'a Sandbox,
    /// Who we were outside.
    pub(crate) outside: Identity,
    /// Who the command is to be.
    pub(crate) inside: Identity,
    /// Whether we are root, as opposed to an ordinary user in a user namespace of its own.
    pub(crate) is_root: bool,
    /// Closes when the launcher dies.
    pub(crate) launcher: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) report: File,
    /// Where the command's result goes.
    pub(crate) export: Option<File>,
}

impl Init<'_> {
    pub(crate) fn run(self) -> ! {
        let report = match self.start() {
            Ok(target) => {
                let _ = write_frame(&self.report, &Report::Running);
                self.attend(target)
            }
            Err(report) => report,
        };
        let _ = write_frame(&self.report, &report);
        std::process::exit(0)
    }

    /// Builds the sandbox and starts the command.
    fn start(&self) -> Result<Pid, Report> {
        self.build()?;
        let (failure, report) = pipe_with(PipeFlags::CLOEXEC).step(|| "making a pipe".to_owned())?;
        let report = File::from(report);
        let target = match sys::fork(0, None).step(|| "starting a process".to_owned())? {
            Side::Parent(target) => target,
            Side::Child => {
                let fences = Fences {
                    files: files::within_own_root(
                        &self.order.directory,
                        !self.sandbox.devices.is_empty(),
                        self.sandbox.network,
                    ),
                    tool: Tool {
                        network: self.sandbox.network,
                        devices: !self.sandbox.devices.is_empty(),
                        attributes: true,
                        signals: true,
                    },
                    // This process.
                    others: 1,
                };
                target::become_command(self.order, self.sandbox, &fences, &self.stderr, &report)
            }
        };
        drop(report);
        // The other ends must see when the command has closed its own.
        let null = File::options().read(true).write(true).open("/dev/null");
        let null = null.step(|| "opening /dev/null".to_owned())?;
        rustix::stdio::dup2_stdin(&null).step(|| "letting go of standard input".to_owned())?;
        rustix::stdio::dup2_stdout(&null).step(|| "letting go of standard output".to_owned())?;
        rustix::stdio::dup2_stderr(&null).step(|| "letting go of standard error".to_owned())?;
        // The pipe ends with a successful exec.
        match read_frame(File::from(failure)).step(|| "reading a pipe".to_owned())? {
            None => Ok(target),
            // The sandbox stands, so that this isn't for want of namespaces.
            Some(Report::Unavailable { message }) => Err(Report::Failed { message }),
            Some(report) => Err(report),
        }
    }

    fn build(&self) -> Result<(), Failure> {
        // Whoever kills this group from outside kills the sandbox. From inside nobody can.
        rustix::process::setpgid(None, None).step(|| "making a process group".to_owned())?;
        let mut kept = vec![self.launcher.as_fd(), self.stderr.as_fd(), self.report.as_fd()];
        kept.extend(self.export.as_ref().map(AsFd::as_fd));
        sys::close_all_but(kept);
        rights::die_with_parent().step(|| "tying the sandbox to its launcher".to_owned())?;
        if !self.is_root {
            rights::map(self.outside, self.inside).step(|| "mapping the user".to_owned())?;
        }
        rustix::system::sethostname(b"sandbox").step(|| "naming the host".to_owned())?;
        root::build(self.sandbox, &self.order.directory, self.inside)?;
        rights::empty_bounding_set().step(|| "emptying the bounding set".to_owned())?;
        if self.is_root {
            rights::become_user(self.inside).step(|| "becoming another user".to_owned())?;
        }
        rights::drop_capabilities().step(|| "dropping capabilities".to_owned())?;
        rights::hide().step(|| "hiding the first process".to_owned())?;
        rights::die_with_parent().step(|| "tying the sandbox to its launcher".to_owned())?;
        // The launcher may have died before that.
        let mut launcher = [PollFd::new(&self.launcher, PollFlags::empty())];
        match poll(&mut launcher, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(0) => Ok(()),
            _ => Err(Errno::PIPE).step(|| "the launcher died".to_owned()),
        }
    }

    /// Waits for the command; kills whatever it left; takes its result out.
    fn attend(&self, target: Pid) -> Report {
        let mut peak_bytes = 0;
        let status = loop {
            match sys::wait_for_anybody() {
                Some(dead) => {
                    peak_bytes = peak_bytes.max(dead.peak_bytes);
                    if dead.pid == target.as_raw_nonzero().get() {
                        break dead.status;
                    }
                }
                None => return Report::Failed { message: "the command disappeared".to_owned() },
            }
        };
        sys::kill_everybody_else();
        while let Some(dead) = sys::wait_for_anybody() {
            peak_bytes = peak_bytes.max(dead.peak_bytes);
        }
        let mut how = how(status);
        if let (How::Exited { code: 0 }, Some(order), Some(to)) = (&how, &self.sandbox.export, &self.export)
            && let Err(message) = export::copy(order, &self.order.directory, to)
        {
            how = How::NotExported { message };
        }
        Report::Ended { how, peak_bytes }
    }
}
