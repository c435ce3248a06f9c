//! Diagnostics for developers, on standard error. What users read goes through `progress` and the command line.

use tracing_subscriber::filter::LevelFilter;

/// Warnings only, unless `-v` (info) or `-vv` (debug) asks for more. No colour when piped.
pub fn start(verbosity: u8) {
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
}
