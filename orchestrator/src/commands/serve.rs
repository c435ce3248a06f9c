//! `evolve serve`.

use std::io;
use std::path::{Path, PathBuf};

use program_db::{DbError, ProgramDb};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::open::{self, storage};
use super::run::signal;
use crate::cli::ServeArgs;
use crate::config;
use crate::exit_code::{ExitCode, Failure};
use crate::service::{self, Service, Settings, Token};

pub(super) async fn serve(db: Option<&Path>, arguments: &ServeArgs) -> Result<ExitCode, Failure> {
    let token = token(arguments)?;
    if token.is_none() && !arguments.listen.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "{} can be reached from other machines, so clients must know a token: write one to a file \
             (`openssl rand -hex 32 > token`) and add --token-file token, or listen at 127.0.0.1 and come through ssh \
             (`ssh -L 8090:127.0.0.1:8090 HOST`)",
            arguments.listen.ip()
        )));
    }
    let configs = folders(&arguments.configs)?;
    let db = database(&open::database_path(db)?, !configs.is_empty()).await?;
    let listener = listen(arguments).await?;
    let listen = listener.local_addr().map_err(internal)?;
    let settings = Settings {
        listen,
        token,
        hosts: arguments.allow_host.clone(),
        configs,
        max_runs: arguments.max_runs.into(),
        program: std::env::current_exe().map_err(internal)?,
    };
    say(arguments.json, &db, &settings);
    let service = Service::new(db.clone(), settings).map_err(internal)?;
    let stop = CancellationToken::new();
    let signals = tokio::spawn({
        let stop = stop.clone();
        async move {
            signal().await;
            stop.cancel();
            signal().await;
            std::process::exit(ExitCode::Interrupted as i32);
        }
    });
    service::serve(listener, service, stop.cancelled_owned()).await.map_err(internal)?;
    signals.abort();
    db.close().await;
    if !arguments.json {
        eprintln!("stopped; runs that were started from here go on");
    }
    Ok(ExitCode::Success)
}

/// For reading. Where runs can be started a database that isn't there yet is made, to have somewhere to start them in.
pub(super) async fn database(path: &Path, may_start: bool) -> Result<ProgramDb, Failure> {
    match ProgramDb::open_read_only(path).await {
        Err(DbError::Missing { .. }) if may_start => {
            ProgramDb::open(path).await.map_err(storage)?.close().await;
            ProgramDb::open_read_only(path).await
        }
        other => other,
    }
    .map_err(storage)
}

fn token(arguments: &ServeArgs) -> Result<Option<Token>, Failure> {
    let (place, text) = match &arguments.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("--token-file {}: {error}", path.display())))?;
            (path.display().to_string(), text)
        }
        None => match config::service_token() {
            Some(text) => (config::SERVICE_TOKEN.to_owned(), text),
            None => return Ok(None),
        },
    };
    Token::new(&text).map(Some).map_err(|error| Failure::usage(format!("{place}: {error}")))
}

pub(super) fn folders(configs: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let folder = |path: &PathBuf| match path.canonicalize() {
        Ok(folder) if folder.is_dir() => Ok(folder),
        Ok(_) => Err(Failure::usage(format!(
            "--configs {}: not a folder; name the one it lies in",
            path.display()
        ))),
        Err(error) => Err(Failure::usage(format!("--configs {}: {error}", path.display()))),
    };
    configs.iter().map(folder).collect()
}

async fn listen(arguments: &ServeArgs) -> Result<TcpListener, Failure> {
    TcpListener::bind(arguments.listen).await.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "; another program listens there (perhaps another `evolve serve`): name another port, or 0 for a free one",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need special rights: name a higher one",
            io::ErrorKind::AddrNotAvailable => "; this machine doesn't have that address",
            _ => "",
        };
        Failure::usage(format!("can't listen at {}: {error}{hint}", arguments.listen))
    })
}

fn say(json: bool, db: &ProgramDb, settings: &Settings) {
    let url = format!("http://{}/", settings.listen);
    if json {
        let line = serde_json::json!({
            "url": url,
            "api": format!("{url}api/v1"),
            "database": db.path(),
            "configs": settings.configs,
            "token": settings.token.is_some(),
            "pid": std::process::id(),
        });
        println!("{line}");
        return;
    }
    println!("dashboard   {url}");
    println!("API         {url}api/v1 (described by {url}api/v1/openapi.json)");
    println!("database    {}", db.path().display());
    for folder in &settings.configs {
        println!("may start   configurations under {}", folder.display());
    }
    if settings.configs.is_empty() {
        println!(
            "may start   nothing; --configs DIR names a folder of configurations that may be run from here"
        );
    }
    println!(
        "who may     {}",
        if settings.token.is_some() { "clients that know the token" } else { "everybody on this machine" }
    );
    println!("Ctrl-C stops it; runs go on without it.");
}

fn internal(error: io::Error) -> Failure {
    Failure { code: ExitCode::Internal, message: format!("the service ends: {error}") }
}
