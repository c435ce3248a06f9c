//! The last steps of the process that becomes the command.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use evaluator::order::{Order, Sandbox};
use trial_lock::Tool;
use trial_protocol::write_frame;

use super::report::{Failure, Report, Step};
use super::{files, rights, sys};

/// What distinguishes the tiers here.
pub(crate) struct Fences<'a> {
    pub(crate) files: files::Rules<'a>,
    pub(crate) tool: Tool,
    /// See [`rights::limit`].
    pub(crate) others: u64,
}

/// Becomes the command. `stderr` is its standard error; if it can't be started, `report` gets to know.
pub(crate) fn become_command(
    order: &Order,
    sandbox: &Sandbox,
    fences: &Fences,
    stderr: &OwnedFd,
    report: &File,
) -> ! {
    let report_ = match shut_in(order, sandbox, fences, stderr) {
        Ok(()) => {
            let mut command = Command::new(&order.program);
            let error = command
                .args(&order.arguments)
                .env_clear()
                .envs(&order.environment)
                .current_dir(&order.directory)
                .exec();
            Report::NotStarted { message: format!("{}: {error}", order.program.display()) }
        }
        Err(failure) => failure.into(),
    };
    // If nobody listens any more we are about to be killed.
    let _ = write_frame(report, &report_);
    std::process::exit(1)
}

fn shut_in(order: &Order, sandbox: &Sandbox, fences: &Fences, stderr: &OwnedFd) -> Result<(), Failure> {
    rustix::stdio::dup2_stderr(stderr).step(|| "connecting standard error".to_owned())?;
    sys::close_others_on_exec().step(|| "closing files".to_owned())?;
    rustix::process::chdir(&order.directory).step(|| {
        let folder = order.directory.display();
        format!("entering {folder} (as root, the command is another user: let others pass through the folders above)")
    })?;
    rights::limit(order, sandbox, fences.others).step(|| "setting limits".to_owned())?;
    rights::drop_capabilities().step(|| "dropping capabilities".to_owned())?;
    let scoped = files::restrict(&fences.files).step(|| {
        "restricting files (as root, the command is another user: it must be let read them)".to_owned()
    })?;
    let tool = Tool { signals: fences.tool.signals || scoped, ..fences.tool };
    let filter = trial_lock::tool(tool).step(|| "compiling the system call filter".to_owned())?;
    filter.install().step(|| "installing the system call filter".to_owned())
}
