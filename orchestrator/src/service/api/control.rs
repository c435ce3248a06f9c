//! Starting, pausing and resuming runs.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use program_db::{RunId, Wish};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::Service;
use super::super::extract::{Json as Body, Path, object};
use super::super::problem::Problem;
use super::super::run_state::RunStatus;
use super::super::runner::{Budgets, FoundConfig, Start, StartState};
use super::{BASE, OfRun, Refusals};

/// What to start.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRun {
    /// The configuration: its name from an allowed folder on, as `GET /configs` lists it, or its whole path.
    #[schema(example = "config.yaml")]
    config: String,
    /// The run's seed (`random_seed`).
    #[schema(maximum = 9_007_199_254_740_991_i64)]
    seed: Option<u64>,
    /// What it may use.
    #[serde(default, deserialize_with = "object")]
    budgets: Budgets,
}

/// How a run is resumed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resume {
    /// What it may use, in place of what its configuration says.
    #[serde(default, deserialize_with = "object")]
    budgets: Budgets,
}

/// Nothing to say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// A process that was started from here.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Process {
    /// Its number in this server.
    id: u64,
    /// Its process id.
    pid: u32,
    /// What it runs.
    config: String,
    /// When it was started.
    started_at: i64,
    /// How far it has come.
    state: ProcessState,
    /// The run that it works on, or worked on.
    run: Option<i64>,
    /// Its exit code, if it has ended by itself.
    exit_code: Option<i32>,
    /// Where its words go, on the server.
    log: String,
    /// The end of that, if it has ended without success.
    last_words: Option<String>,
}

/// How far a process has come.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ProcessState {
    /// It sets up what it needs.
    Starting,
    /// It works on its run.
    Running,
    /// It has ended.
    Ended,
}

impl From<&Start> for Process {
    fn from(start: &Start) -> Self {
        let (state, run, exit_code) = match start.state() {
            StartState::Starting => (ProcessState::Starting, None, None),
            StartState::Running { run } => (ProcessState::Running, Some(run), None),
            StartState::Ended { run, code } => (ProcessState::Ended, run, code),
        };
        let is_over = matches!(state, ProcessState::Ended);
        Self {
            id: start.id,
            pid: start.pid,
            config: start.config.clone(),
            started_at: start.started_at,
            state,
            run,
            exit_code,
            log: start.log.display().to_string(),
            last_words: (is_over && exit_code != Some(0)).then(|| start.last_words()),
        }
    }
}

/// 201 with the run's address, or 202 while it is still starting.
fn answer(start: &Start) -> Response {
    let started = Process::from(start);
    let (status, place) = match started.run {
        Some(run) => (StatusCode::CREATED, format!("{BASE}/runs/{run}")),
        None => (StatusCode::ACCEPTED, format!("{BASE}/starts/{}", started.id)),
    };
    let mut response = (status, Json(started)).into_response();
    if let Ok(place) = HeaderValue::from_str(&place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// Start a run of an allowed configuration. It is a process of its own and goes on without the server.
#[utoipa::path(post, path = "/runs", tag = "control", request_body = NewRun, responses(
    (status = 201, body = Process, description = "It works; Location is the run"),
    (status = 202, body = Process, description = "It is still setting up; Location says how far it has come"),
    Refusals))]
pub(super) async fn start(
    State(service): State<Service>,
    Body(new): Body<NewRun>,
) -> Result<Response, Problem> {
    let start = service.runner().start(&new.config, new.seed, &new.budgets).await?;
    Ok(answer(&start))
}

/// Go on with a run, perhaps with other budgets. Only if its configuration lies in an allowed folder.
#[utoipa::path(post, path = "/runs/{run}/resume", tag = "control", request_body = Resume,
    params(OfRun),
    responses(
        (status = 201, body = Process, description = "It works"),
        (status = 202, body = Process, description = "It is still setting up; Location says how far it has come"),
        Refusals))]
pub(super) async fn resume(
    State(service): State<Service>,
    Path(OfRun { run }): Path<OfRun>,
    Body(resume): Body<Resume>,
) -> Result<Response, Problem> {
    let start = service.runner().resume(run, &resume.budgets).await?;
    Ok(answer(&start))
}

/// Ask the process that works on a run, wherever it was started, to stop cleanly: nothing is lost, and the run can be resumed.
#[utoipa::path(post, path = "/runs/{run}/pause", tag = "control", request_body = Nothing,
    params(OfRun),
    responses((status = 202, body = RunStatus, description = "It was asked"), Refusals))]
pub(super) async fn pause(
    State(service): State<Service>,
    Path(OfRun { run }): Path<OfRun>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<(StatusCode, Json<RunStatus>), Problem> {
    ask(&service, run, Wish::Pause).await
}

/// The same as pause, with the mark that this is meant to be its end. (It can be resumed all the same.)
#[utoipa::path(post, path = "/runs/{run}/stop", tag = "control", request_body = Nothing,
    params(OfRun),
    responses((status = 202, body = RunStatus, description = "It was asked"), Refusals))]
pub(super) async fn stop(
    State(service): State<Service>,
    Path(OfRun { run }): Path<OfRun>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<(StatusCode, Json<RunStatus>), Problem> {
    ask(&service, run, Wish::Stop).await
}

async fn ask(service: &Service, run: RunId, wish: Wish) -> Result<(StatusCode, Json<RunStatus>), Problem> {
    service.runner().stop(run, wish).await?;
    Ok((StatusCode::ACCEPTED, Json(service.status(run).await?)))
}

/// The configurations that may be started.
#[utoipa::path(get, path = "/configs", tag = "control", responses((status = 200, body = Vec<FoundConfig>), Refusals))]
pub(super) async fn configs(State(service): State<Service>) -> Json<Vec<FoundConfig>> {
    // Looking into folders is quick, but a network disk may take its time.
    let list = tokio::task::spawn_blocking(move || service.runner().configs().list()).await;
    Json(list.unwrap_or_default())
}

/// What was started from here since the server began, the latest first.
#[utoipa::path(get, path = "/starts", tag = "control", responses((status = 200, body = Vec<Process>), Refusals))]
pub(super) async fn starts(State(service): State<Service>) -> Json<Vec<Process>> {
    Json(service.runner().starts().iter().rev().map(|start| Process::from(&**start)).collect())
}

/// One process that was started from here.
#[utoipa::path(get, path = "/starts/{id}", tag = "control",
    params(("id" = u64, Path, maximum = 9_007_199_254_740_991_i64, description = "Its number in this server")),
    responses((status = 200, body = Process), Refusals))]
pub(super) async fn start_of(
    State(service): State<Service>,
    Path(id): Path<u64>,
) -> Result<Json<Process>, Problem> {
    let starts = service.runner().starts();
    let start = starts.iter().find(|start| start.id == id);
    let start =
        start.ok_or_else(|| Problem::not_found(format!("nothing was started from here as number {id}")))?;
    Ok(Json(Process::from(&**start)))
}
