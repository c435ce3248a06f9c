//! Carries out what the command line asks for. The only place, with `progress`, that prints.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the command line")]

pub(crate) mod alarm;
mod attacks;
mod best_folder;
mod browse;
mod calibrate;
mod doctor;
mod evaluate;
mod example;
mod export;
mod import;
mod mcp;
mod open;
mod openevolve;
mod prompt;
mod report;
mod run;
mod serve;
mod table;
mod watch;

pub(crate) use self::open::storage;
use crate::cli::{AccessArgs, Cli, Command, Overrides};
use crate::config::Config;
use crate::exit_code::{ExitCode, Failure};
use crate::text;

/// Does it, says what went wrong, and returns the exit code.
pub async fn carry_out(cli: Cli) -> ExitCode {
    match Box::pin(dispatch(cli)).await {
        Ok(code) => code,
        Err(failure) => refuse(&failure),
    }
}

/// Says what went wrong.
pub fn refuse(failure: &Failure) -> ExitCode {
    eprintln!("error: {}", text::printable(&failure.message));
    failure.code
}

/// The asynchronous runtime could not be started.
pub fn fail_to_start(error: &std::io::Error) -> std::process::ExitCode {
    eprintln!("error: can't start: {error}");
    ExitCode::Internal.into()
}

async fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let db = cli.db.as_deref();
    match cli.command {
        Command::Run(arguments) => Box::pin(run::run(db, &arguments)).await,
        Command::Resume(arguments) => Box::pin(run::resume(db, &arguments)).await,
        Command::Runs { format } => browse::runs(db, format).await,
        Command::Best { run, out } => browse::best(db, run, out.as_deref()).await,
        Command::Show { program, prompt, json } => browse::show(db, program, prompt, json).await,
        Command::Diff { a, b } => browse::diff(db, a, b).await,
        Command::Lineage { program, format } => browse::lineage(db, program, format).await,
        Command::Query { expression, sql, run, all_runs, format } => {
            browse::query(db, expression.as_deref(), sql, run, all_runs, format).await
        }
        Command::Evaluate { program, evaluator, config, access, no_sandbox, json } => {
            let config = match evaluator {
                Some(evaluator) => {
                    openevolve::evaluating(&program, &evaluator, config.as_deref(), &access, no_sandbox)?
                }
                None if access != AccessArgs::default() => {
                    let message = "what the evaluator may do is said where EVALUATOR is named, else in problem.yaml (`sandbox`)";
                    return Err(Failure::usage(message.to_owned()));
                }
                None => evaluate::configured(config.as_deref(), no_sandbox)?,
            };
            evaluate::evaluate(&program, config, json).await
        }
        Command::Import(arguments) => import::import(db, &arguments).await,
        Command::Export(arguments) => export::export(db, &arguments).await,
        Command::Report(arguments) => report::report(db, &arguments).await,
        Command::Serve(arguments) => serve::serve(db, &arguments).await,
        Command::Watch(arguments) => watch::watch(db, &arguments).await,
        Command::Mcp(arguments) => mcp::mcp(db, &arguments).await,
        Command::Prompt(arguments) => prompt::prompt(db, &arguments).await,
        Command::Lessons { run, all, json } => prompt::lessons(db, run, all, json).await,
        Command::Calibrate(arguments) => calibrate::calibrate(&arguments).await,
        Command::Doctor { config, attacks, json, .. } if attacks.attacks.is_some() => {
            attacks::attacks(&config, &attacks, json).await
        }
        Command::Doctor { folder, access, config, endpoint, json, .. } => {
            let config = match folder {
                Some(folder) => openevolve::of_folder(&folder, &access),
                None => Config::read(&config, &Overrides::default()).map_err(Failure::usage),
            };
            doctor::doctor(db, config, endpoint, json).await
        }
    }
}
