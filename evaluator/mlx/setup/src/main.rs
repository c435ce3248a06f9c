//! Makes MLX available to this workspace, and builds the kernel harness with it.
//!
//! The work, in order: find the workspace and its crates ([`workspace`]), find or make MLX in the cache ([`native`]),
//! run cargo with it, and write down where everything is ([`harness`]). Each step finds its work done the second time.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use arguments::{Arguments, Backend, Command};
use cache::Cache;
use native::Mlx;
use problem::Problem;
use workspace::Workspace;

mod arguments;
mod bindings;
mod cache;
mod harness;
mod native;
mod problem;
mod process;
mod reference;
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
        Command::Build | Command::Bindings(_) => {
            harness::build(&workspace, mlx.as_ref())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Env => {
            print_environment(mlx.as_ref());
            Ok(ExitCode::SUCCESS)
        }
        Command::Cargo { arguments } => {
            let (subcommand, rest) = arguments.split_first().context("cargo needs a subcommand")?;
            let mut command = workspace.cargo(subcommand, mlx.as_ref());
            let status = command.args(rest).status().context("can't start cargo")?;
            Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Shell lines: the linker's path, and what cargo needs as an argument.
#[expect(clippy::print_stdout, reason = "made for `eval`")]
fn print_environment(mlx: Option<&Mlx>) {
    if let Some(mlx) = mlx {
        let path = workspace::prepend(&mlx.libraries, None);
        println!("export {name}='{}'${{{name}:+:${name}}}", path.display(), name = workspace::LIBRARY_PATH);
        println!("cargo() {{ command cargo \"$1\" --config '{}' \"${{@:2}}\"; }}", mlx.config.display());
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
