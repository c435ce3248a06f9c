//! The evaluator process: a child of `evolve`, spoken to over standard input and output (see
//! [`evaluator::wire`]). Its log goes to standard error. It ends, and kills all it started, when standard
//! input closes.

use std::io;
use std::process::ExitCode;

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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build()?;
    runtime.block_on(evaluator::serve(tokio::io::stdin(), tokio::io::stdout()))
}
