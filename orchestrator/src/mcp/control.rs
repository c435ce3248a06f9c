//! Tools that start, pause and resume runs: what `service::runner` lets through.

use program_db::Wish;

use super::answer::{Answer, Refused};
use super::arguments::{ResumeRun, StartRun};
use super::server::Server;
use crate::service::runner::{Budgets, Start, StartState};

/// Why nothing is started where no folder was named.
const NO_FOLDER: &str =
    "this server starts nothing: the user gave it no folder of configurations (evolve mcp --configs DIR)";

pub(super) fn configs(server: &Server) -> Result<Answer, Refused> {
    let configs = server.service().runner().configs();
    if !configs.any() {
        return Err(Refused(NO_FOLDER.to_owned()));
    }
    let mut answer = Answer::default();
    let found = configs.list();
    answer.line(format!("{} configurations:", found.len()));
    for config in found {
        answer.line(format!("{} (in {})", config.name, config.folder));
    }
    Ok(answer)
}

pub(super) async fn start(server: &Server, start: StartRun) -> Result<Answer, Refused> {
    let runner = server.service().runner();
    if !runner.configs().any() {
        return Err(Refused(NO_FOLDER.to_owned()));
    }
    let budgets = budgets(start.iterations, start.max_wall_seconds, start.max_cost)?;
    Ok(told(&*runner.start(&start.config, start.seed, &budgets).await?))
}

pub(super) async fn resume(server: &Server, resume: ResumeRun) -> Result<Answer, Refused> {
    let runner = server.service().runner();
    if !runner.configs().any() {
        return Err(Refused(NO_FOLDER.to_owned()));
    }
    let budgets = budgets(resume.iterations, resume.max_wall_seconds, resume.max_cost)?;
    Ok(told(&*runner.resume(resume.run, &budgets).await?))
}

pub(super) async fn pause(server: &Server, run: i64) -> Result<Answer, Refused> {
    let pid = server.service().runner().stop(run, Wish::Pause).await?;
    let mut answer = Answer::default();
    answer.line(format!(
        "process {pid} was asked to stop run {run}: it waits for what is paid for and ends; nothing is lost. list_runs shows `paused` once it has."
    ));
    Ok(answer)
}

fn budgets(
    iterations: Option<u64>,
    max_wall_seconds: Option<f64>,
    max_cost: Option<f64>,
) -> Result<Budgets, Refused> {
    for (name, value) in [("max_wall_seconds", max_wall_seconds), ("max_cost", max_cost)] {
        if value.is_some_and(|value| value.is_nan() || value <= 0.0) {
            return Err(Refused(format!("{name} must be above 0")));
        }
    }
    Ok(Budgets { iterations, max_wall_seconds, max_cost, ..Budgets::default() })
}

fn told(start: &Start) -> Answer {
    let mut answer = Answer::default();
    let (pid, log) = (start.pid, start.log.display());
    answer.line(match start.state() {
        StartState::Starting => {
            format!("process {pid} is still setting up its evaluator; list_runs will show the run")
        }
        StartState::Running { run } => {
            format!("process {pid} works on run {run}; run_summary shows how it stands")
        }
        StartState::Ended { run, code } => {
            let run = run.map_or_else(String::new, |run| format!(" run {run}"));
            format!("process {pid} worked on{run} and has ended already (exit code {code:?})")
        }
    });
    answer.line(format!("It goes on when this server ends. Its log: {log}"));
    answer
}
