//! `evolve serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// `evolve serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address and port to listen at; port 0 takes a free one. Any address but this machine's own (such as 127.0.0.1) needs a
    /// token.
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// A folder whose configurations may be started and resumed through the service (repeatable). Without one it only shows
    /// what is in the database, and pauses.
    #[arg(long, value_name = "DIR")]
    pub configs: Vec<PathBuf>,
    /// A file with the token that browsers and programs must know, at least 16 characters (else: the variable `EVOLVE_TOKEN`).
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A further name that the server is called by, such as that of a proxy in front of it (repeatable).
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Most runs that are started from here and under way at once.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub max_runs: u16,
    /// Say where it listens as one line of JSON on standard output.
    #[arg(long)]
    pub json: bool,
}
