//! `evolve evaluate`: one program through the whole evaluation, nothing stored.

use std::path::Path;

use evaluator::history::History;
use evaluator::{Evaluator, Job, Purpose};
use search::token_hash;

use super::text::printable;
use super::{alarm, open};
use crate::cli::Overrides;
use crate::config::Config;
use crate::event::Event;
use crate::exit_code::{ExitCode, Failure};
use crate::{progress, report};

/// What a configuration of ours says.
pub(super) fn configured(config: Option<&Path>, no_sandbox: bool) -> Result<Config, Failure> {
    let path = config.unwrap_or(Path::new("config.yaml"));
    Config::read(path, &Overrides { no_sandbox, ..Overrides::default() }).map_err(Failure::usage)
}

pub(super) async fn evaluate(program: &Path, config: Config, json: bool) -> Result<ExitCode, Failure> {
    let source = evaluator::bundle::read(program).map_err(|error| Failure::usage(error.to_string()))?;
    let evaluator = open::evaluator(&config, History::default()).await?;
    let watcher = watch(&evaluator);
    let kernel = token_hash(&source, config.problem.problem.language()).to_string();
    let result = evaluator.evaluate(Job { id: 0, program: source, kernel, purpose: Purpose::Search }).await;
    watcher.abort();
    evaluator.shutdown().await;
    let evaluation =
        result.map_err(|error| Failure { code: ExitCode::Evaluator, message: error.to_string() })?;
    if json {
        println!("{}", serde_json::to_string_pretty(&evaluation).unwrap_or_default());
    } else {
        if let Some(alarm) = alarm::of_one(Some(evaluation.measured_by.sandbox.as_str())) {
            println!("{}", alarm::on_stdout(&alarm));
        }
        print!("{}", printable(&report::evaluation(&evaluation)));
    }
    let measured = evaluation.outcome.measured().is_some();
    Ok(if measured { ExitCode::Success } else { ExitCode::CandidateFailed })
}

/// Says on standard error how far the evaluation has come.
pub(super) fn watch(evaluator: &Evaluator) -> tokio::task::JoinHandle<()> {
    let mut steps = evaluator.events();
    tokio::spawn(async move {
        while let Ok(step) = steps.recv().await {
            if let Some(Event::Evaluating { stage, arm, trial, .. }) = Event::from_progress(&step) {
                eprintln!("{}", progress::step(&stage, arm, trial));
            }
        }
    })
}
