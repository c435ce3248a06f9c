//! `evolve mcp`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use rmcp::ServiceExt as _;
use rmcp::transport::io::stdio_pipes;

use super::{open, serve};
use crate::cli::McpArgs;
use crate::exit_code::{ExitCode, Failure};
use crate::mcp::Server;
use crate::service::{Service, Settings};

/// Answers until the client closes standard input, which it also does by dying.
pub(super) async fn mcp(db: Option<&Path>, arguments: &McpArgs) -> Result<ExitCode, Failure> {
    let configs = serve::folders(&arguments.configs)?;
    let db = serve::database(&open::database_path(db)?, !configs.is_empty()).await?;
    let settings = Settings {
        // Nothing listens: the client is at the other end of standard input.
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        token: None,
        hosts: Vec::new(),
        configs,
        max_runs: arguments.max_runs.into(),
        program: std::env::current_exe().map_err(internal)?,
    };
    let service = Service::new(db, settings).map_err(internal)?;
    let running = Server::new(service).serve(stdio_pipes()).await;
    match running {
        Ok(running) => {
            running.waiting().await.map_err(|error| internal(io::Error::other(error)))?;
        }
        // It went before it said what it wants.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => {}
        Err(error) => {
            return Err(Failure::usage(format!(
                "what came on standard input is not the Model Context Protocol: {error}"
            )));
        }
    }
    Ok(ExitCode::Success)
}

fn internal(error: io::Error) -> Failure {
    Failure { code: ExitCode::Internal, message: format!("the server ends: {error}") }
}
