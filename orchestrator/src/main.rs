//! `evolve`: evolutionary code search whose results hold.

use std::process::ExitCode;

use clap::Parser as _;
use orchestrator::cli::Cli;
use orchestrator::{commands, logging, privacy};

fn main() -> ExitCode {
    // Before any key is read.
    if let Err(error) = privacy::close() {
        return commands::fail_to_start(&error);
    }
    let cli = Cli::parse();
    let logging = match logging::start(&cli) {
        Ok(logging) => logging,
        Err(failure) => return commands::refuse(&failure).into(),
    };
    // The run loop and what it waits for wake each other all the time: within one thread that costs next to nothing. What computes
    // for long has threads of its own.
    let mut builder = if cli.searches() {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return commands::fail_to_start(&error),
    };
    let code = runtime.block_on(commands::carry_out(cli));
    // A blocked thread (a name lookup, say) must not keep a finished program alive.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    logging.finish();
    code.into()
}
