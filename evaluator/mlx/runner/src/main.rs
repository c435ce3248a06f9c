//! One process, one request: lets a kernel compute what a challenge asks for, or fine-tunes with it, and hands over what
//! came out, as bytes. The protocol is described in [`trial_protocol`].
//!
//! The only place where candidate code is loaded. A kernel that fails is an answer; only what kills the process is not.
//! Once a kernel is loaded nothing that this process says is believed: others keep the time and judge the bytes.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use trial_protocol::{Blame, Failure, Reply, Request};

use supervisor::Supervisor;

mod check;
mod describe;
mod plugin;
mod supervisor;
mod trial;
mod warm;

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
        Err(error) => {
            complain(&format!("trial-runner: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn serve() -> std::io::Result<Infallible> {
    trainer::compiled::adopt()?;
    let mut supervisor = Supervisor::connect()?;
    let request = supervisor.receive()?;
    // A panic of ours ends here. One of the kernel's never comes this far: `plugin` turns it into an error.
    let outcome = catch_unwind(AssertUnwindSafe(|| match request {
        Request::Describe => describe::description().map(Reply::Description).map_err(setup),
        Request::Check(request) => check::run(&request, &mut supervisor),
        Request::Trial(request) => trial::run(&request, &mut supervisor),
        Request::Warm(request) => warm::run(&request),
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
    supervisor.reply(&reply)?;
    supervisor::wait_for_end()
}

/// Locks this process before it loads a candidate.
fn lock(wanted: bool) -> Result<(), Stop> {
    if !wanted {
        return Ok(());
    }
    // A GPU's driver opens its devices and starts its threads when it is first used, which it can't any more once this is locked.
    kernel_api::host::wake().map_err(setup)?;
    trial_lock::lock().map_err(|error| {
        setup(format!(
            "the trial runner can't lock itself: {error}; `evolve doctor` says what this system offers"
        ))
    })
}

fn kernel(message: impl std::fmt::Display) -> Stop {
    Stop::Failed(Failure { blame: Blame::Kernel, message: without_places(&message.to_string()) })
}

/// MLX's C interface ends its messages with the place in its own source (` at /…/ops.cpp:123`), which tells a kernel's
/// author nothing and is another one on each machine.
fn without_places(message: &str) -> String {
    let is_place = |word: &str| word.starts_with('/') && word.contains(".cpp:");
    let mut words: Vec<&str> = Vec::new();
    for word in message.split(' ') {
        if is_place(word) && words.last() == Some(&"at") {
            words.pop();
        } else {
            words.push(word);
        }
    }
    words.join(" ")
}

fn setup(message: impl std::fmt::Display) -> Stop {
    Stop::Failed(Failure { blame: Blame::Setup, message: message.to_string() })
}

#[expect(clippy::print_stderr, reason = "standard output is the supervisor's")]
fn complain(message: &str) {
    eprintln!("{message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernels_failure_does_not_name_a_file_of_mlx() {
        let message = "[matmul] shapes (2,3) and (4,5). at /x/mlx/c/ops.cpp:2291";
        assert_eq!(without_places(message), "[matmul] shapes (2,3) and (4,5).");
        assert_eq!(without_places("meet at noon"), "meet at noon");
    }
}
