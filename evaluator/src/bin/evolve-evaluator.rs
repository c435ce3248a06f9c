//! The evaluator process: a child of `evolve`, spoken to over standard input and output (see
//! [`evaluator::wire`]). Its log goes to standard error. It ends, and kills all it started, when standard
//! input closes.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use tokio::net::unix::pipe;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).without_time().init();
    let ended = run();
    if let Err(error) = &ended {
        tracing::error!(%error, "the evaluator ends");
    }
    // Not a return: the runtime would wait for its thread that is blocked reading standard input.
    std::process::exit(i32::from(ended.is_err()))
}

fn run() -> io::Result<()> {
    // If a launcher is killed, what it had started becomes our child instead of nobody's, so we can end it.
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // Where nothing is timed by this process's own clock, one thread does: threads that wake each other are most of what a
    // short evaluation costs here.
    let mut builder = match std::env::args().nth(1).as_deref() {
        Some(evaluator::ONE_THREAD) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().worker_threads(2).build()?;
    runtime.block_on(async {
        match pipes() {
            Ok((input, output)) => evaluator::serve(input, output).await,
            // Somebody speaks to it in another way.
            Err(_) => evaluator::serve(tokio::io::stdin(), tokio::io::stdout()).await,
        }
    })
}

/// Standard input and output as what they are, so that no further threads read and write them.
fn pipes() -> io::Result<(pipe::Receiver, pipe::Sender)> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    Ok((pipe::Receiver::from_owned_fd(input)?, pipe::Sender::from_owned_fd(output)?))
}
