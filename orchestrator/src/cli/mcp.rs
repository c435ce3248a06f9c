//! `evolve mcp`.

use std::path::PathBuf;

use clap::Args;

/// `evolve mcp`.
#[derive(Debug, Args)]
pub struct McpArgs {
    /// A folder whose configurations agents may start and resume (repeatable). Without one they only look, and pause.
    #[arg(long, value_name = "DIR")]
    pub configs: Vec<PathBuf>,
    /// Most runs that are started from here and under way at once.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub max_runs: u16,
}
