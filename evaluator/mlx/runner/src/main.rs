//! One process, one request: compares a kernel's numbers with the reference, or fine-tunes with it and measures, and
//! says what came out. The protocol is described in [`trial_protocol`].
//!
//! The only place where candidate code is loaded. A kernel that fails is an answer; only what kills the process is not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use trial_protocol::{Blame, Failure, Reply, Request};

use supervisor::Supervisor;

mod check;
mod describe;
mod plugin;
mod reference;
mod supervisor;
mod trial;

/// A request's end without the numbers it asked for.
#[derive(Debug)]
enum Stop {
    /// To be reported.
    Failed(Failure),
    /// The supervisor is gone or speaks another language; there is nobody to report to.
    Lost(std::io::Error),
}

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("trial-runner: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn serve() -> std::io::Result<()> {
    let mut supervisor = Supervisor::connect()?;
    let request = supervisor.request()?;
    // A panic of ours ends here. One of the kernel's never comes this far: `plugin` turns it into an error.
    let outcome = catch_unwind(AssertUnwindSafe(|| match request {
        Request::Describe => describe::description().map(Reply::Description).map_err(setup),
        Request::Check(request) => check::run(&request).map(Reply::Check),
        Request::Trial(request) => trial::run(&request, &mut supervisor).map(Reply::Trial),
    }));
    let reply = match outcome {
        Ok(Ok(reply)) => reply,
        Ok(Err(Stop::Failed(failure))) => Reply::Failed(failure),
        Ok(Err(Stop::Lost(error))) => return Err(error),
        Err(payload) => Reply::Failed(Failure {
            blame: Blame::Setup,
            message: format!("the trial runner {}", plugin::panic_text(payload.as_ref())),
        }),
    };
    supervisor.reply(&reply)
}

fn kernel(message: impl std::fmt::Display) -> Stop {
    Stop::Failed(Failure { blame: Blame::Kernel, message: message.to_string() })
}

fn setup(message: impl std::fmt::Display) -> Stop {
    Stop::Failed(Failure { blame: Blame::Setup, message: message.to_string() })
}

#[expect(clippy::print_stderr, reason = "standard output is the supervisor's")]
fn complain(message: &str) {
    eprintln!("{message}");
}
