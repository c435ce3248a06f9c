//! The command line.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::bindings::Bindings;

/// Makes MLX available on this machine and builds the kernel harness.
///
/// On Linux, MLX and what belongs to it are fetched and built once, in `EVOLVE_CACHE`, else
/// `XDG_CACHE_HOME/evolve`, else ~/.cache/evolve. On macOS, mlx-sys builds MLX with Metal by itself. Nothing is installed and root is not needed.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// What MLX computes on (Linux only; on macOS it is Metal)
    #[arg(long, value_enum, default_value_t = Backend::Cpu, env = "EVOLVE_MLX_BACKEND")]
    pub(crate) backend: Backend,
    /// The repository. Default: the one that this program was built from
    #[arg(long, value_name = "DIR")]
    pub(crate) checkout: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do; nothing named means: everything that a search needs.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Prepare MLX, build the harness and write evaluator/mlx/harness.json (the default)
    Build,
    /// Prepare MLX and print the shell lines that let cargo and its programs find it
    Env,
    /// Prepare MLX and run cargo with it: `mlx-setup cargo -- test -p kernel-api`
    Cargo {
        /// Cargo's own arguments
        #[arg(last = true, required = true)]
        arguments: Vec<OsString>,
    },
    /// Write mlx-c's declarations for Rust (used by this program itself)
    #[command(hide = true)]
    Bindings(Bindings),
}

/// A build of MLX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// Any processor
    Cpu,
    /// NVIDIA GPUs, driver for CUDA 12
    #[value(name = "cuda-12")]
    Cuda12,
    /// NVIDIA GPUs, driver for CUDA 13
    #[value(name = "cuda-13")]
    Cuda13,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda12 => "cuda-12",
            Self::Cuda13 => "cuda-13",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn everything_after_the_dashes_is_cargos() {
        let arguments =
            Arguments::parse_from(["mlx-setup", "--backend", "cuda-13", "cargo", "--", "test", "--release"]);
        assert_eq!(arguments.backend, Backend::Cuda13);
        let Some(Command::Cargo { arguments }) = arguments.command else { panic!() };
        assert_eq!(arguments, ["test", "--release"]);
    }
}
