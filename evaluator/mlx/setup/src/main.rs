//! Makes MLX available to this workspace, and builds the kernel harness with it.
//!
//! The work, in order: find the workspace and its crates ([`workspace`]), find or make MLX in the cache ([`native`]),
//! run cargo with it, and write down where everything is ([`harness`]). Each step finds its work done the second time.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use arguments::{Arguments, Backend, Command};
use cache::Cache;
use native::Mlx;
use problem::Problem;
use workspace::Workspace;

mod arguments;
mod bindings;
mod cache;
mod native;
mod problem;
mod process;
mod tools;
mod wheel;
mod workspace;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    if let Some(Command::Bindings(bindings)) = &arguments.command {
        bindings.generate()?;
        return Ok(ExitCode::SUCCESS);
    }
    let workspace = Workspace::open(arguments.checkout.as_deref())?;
    let mlx = prepare(&workspace, arguments.backend)?;
    match arguments.command.unwrap_or(Command::Build) {
        Command::Build | Command::Bindings(_) => todo!(),
        Command::Env => todo!(),
        Command::Cargo { arguments } => {
            let status = workspace.cargo(mlx.as_ref()).args(arguments).status()?;
            Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// MLX for this system; `None` where mlx-sys builds it by itself.
fn prepare(workspace: &Workspace, backend: Backend) -> Result<Option<Mlx>> {
    let unsupported = |reason| Problem::Unsupported { system: std::env::consts::OS.into(), reason };
    match (std::env::consts::OS, backend) {
        ("linux", _) => {
            let cache = Cache::locate(|name| std::env::var_os(name))?;
            native::prepare(workspace, backend, &cache).map(Some)
        }
        ("macos", Backend::Cpu) => Ok(None),
        ("macos", _) => {
            Err(unsupported("there is no CUDA here; leave --backend out, and MLX uses Metal").into())
        }
        _ => Err(unsupported("there is no MLX for it").into()),
    }
}

/// Tells the person at the keyboard.
#[expect(clippy::print_stderr, reason = "this is the only place that prints")]
fn say(message: &str) {
    eprintln!("mlx-setup: {message}");
}
