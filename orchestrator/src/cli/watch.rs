//! `evolve watch`.

use clap::Args;

/// `evolve watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The run (default: the latest).
    pub run: Option<i64>,
    /// Say once how it stands, as a line of text, and end.
    #[arg(long)]
    pub once: bool,
    /// Lines of JSON, one for each change, until nobody works on the run any more; with --once one.
    #[arg(long)]
    pub json: bool,
}
