//! What a run does, and the forms that change it. The runner decides whether it may be; its refusals are shown as they are.

use axum::extract::{Path, State};
use axum::response::Redirect;
use maud::{Markup, html};
use program_db::RunId;
use serde::Deserialize;

use super::facts::Facts;
use super::failure::Failure;
use super::format::visible;
use crate::service::Service;
use crate::service::guard::form::{FIELD, Form, FormSecret};
use crate::service::problem::Problem;
use crate::service::run_state::{RunState, RunStatus};
use crate::service::runner::{Budgets, StartState, Wish};

/// A run's state as a word with a sign.
pub(super) fn state(status: &RunStatus) -> Markup {
    let word = status.state.as_str();
    let class = if status.state.is_active() { "running" } else { word };
    let is_changing = matches!(status.state, RunState::Pausing | RunState::Stopping);
    html! { span class={ "state " (class) } data-again[is_changing] { (word) } }
}

fn hidden(secret: &FormSecret) -> Markup {
    html! { input type="hidden" name=(FIELD) value=(secret.0); }
}

/// Pause and stop, or resume, as it stands.
pub(super) fn buttons(service: &Service, secret: &FormSecret, facts: &Facts, status: &RunStatus) -> Markup {
    let action = format!("/runs/{}/control", facts.run.id);
    let may_start = service.runner().configs().any();
    html! {
        @if status.state.is_active() {
            form method="post" action=(action) class="row" {
                (hidden(secret))
                button type="submit" name="what" value="pause" { "Pause" }
                button type="submit" name="what" value="stop" { "Stop" }
            }
        } @else if may_start {
            form method="post" action=(action) class="row" {
                (hidden(secret))
                label for="iterations" { "Proposals in all" }
                input id="iterations" name="iterations" inputmode="numeric" pattern="[0-9]*" size="7"
                    value=(facts.settings.max_iterations.map_or_else(String::new, |most| most.to_string()));
                button type="submit" name="what" value="resume" { "Resume" }
            }
        }
    }
}

/// The form that starts a run, or why there is none; and what was started.
pub(super) fn starting(service: &Service, secret: &FormSecret) -> Markup {
    let configs = service.runner().configs();
    let found = if configs.any() { configs.list() } else { Vec::new() };
    let starts = service.runner().starts();
    html! {
        @if !configs.any() {
            p class="soft" {
                "From here only configurations in folders that the server was started with: " code { "evolve serve --configs DIR" } ". In a terminal: "
                code { "evolve run --config config.yaml" } "."
            }
        } @else if found.is_empty() {
            p class="soft" { "There is no configuration in the folders that the server was given." }
        } @else {
            form method="post" action="/start" class="row" {
                (hidden(secret))
                div {
                    label for="config" { "Configuration" } br;
                    select id="config" name="config" required {
                        @for config in &found { option value=(config.name) { (visible(&config.name)) } }
                    }
                }
                div { label for="iterations" { "Proposals" } br; input id="iterations" name="iterations" inputmode="numeric" pattern="[0-9]*" size="7" placeholder="as written"; }
                button type="submit" class="main" { "Start" }
            }
        }
        @for start in starts.iter().rev().take(5) {
            p class="small" {
                @match start.state() {
                    StartState::Starting => { "Starting " (visible(&start.config)) " …" }
                    StartState::Running { run } => { "Started " a href={ "/runs/" (run) } { "run " (run) } " of " (visible(&start.config)) }
                    StartState::Ended { run, code } => {
                        @if let Some(run) = run { a href={ "/runs/" (run) } { "Run " (run) } " of " } (visible(&start.config)) " ended"
                        @if code != Some(0) { ": " span class="badge bad" { (visible(&start.last_words())) } }
                    }
                }
            }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Start {
    config: String,
    #[serde(default)]
    iterations: String,
}

pub(super) async fn start(
    State(service): State<Service>,
    Form(form): Form<Start>,
) -> Result<Redirect, Failure> {
    let budgets = Budgets { iterations: number(&form.iterations)?, ..Budgets::default() };
    let start = service.runner().start(&form.config, None, &budgets).await?;
    Ok(match start.state() {
        StartState::Running { run } => Redirect::to(&format!("/runs/{run}")),
        _ => Redirect::to("/"),
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct Change {
    what: What,
    #[serde(default)]
    iterations: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Pause,
    Stop,
    Resume,
}

pub(super) async fn change(
    State(service): State<Service>,
    Path(run): Path<RunId>,
    Form(form): Form<Change>,
) -> Result<Redirect, Failure> {
    service.db().run(run).await?;
    match form.what {
        What::Pause => {
            service.runner().stop(run, Wish::Pause).await?;
        }
        What::Stop => {
            service.runner().stop(run, Wish::Stop).await?;
        }
        What::Resume => {
            let budgets = Budgets { iterations: number(&form.iterations)?, ..Budgets::default() };
            service.runner().resume(run, &budgets).await?;
        }
    }
    Ok(Redirect::to(&format!("/runs/{run}")))
}

fn number(text: &str) -> Result<Option<u64>, Problem> {
    match text.trim() {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| Problem::bad_request("the number of proposals must be a whole number")),
    }
}
