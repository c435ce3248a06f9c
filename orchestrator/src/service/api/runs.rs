//! Runs: what there are, and how they stand.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use program_db::Run;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::Service;
use super::super::extract::{Path, Query};
use super::super::problem::Problem;
use super::super::run_state::{RunState, RunStatus};
use super::{OfRun, Page, Refusals, within};

/// A run and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunSummary {
    /// Its number.
    id: i64,
    /// When it was made.
    created_at: i64,
    /// For people.
    title: String,
    /// The problem's name.
    problem: String,
    /// What all randomness of the search comes from.
    seed: u64,
    #[serde(flatten)]
    status: RunStatus,
    /// Proposals, failed ones too; the initial program isn't one.
    proposals: u64,
    /// Programs, the initial one included.
    programs: u64,
    /// Programs that an evaluator was asked about and answered.
    evaluations: u64,
    /// Programs without an outcome: they are evaluated when the run resumes.
    pending: u64,
    /// Finished numbers by kind of outcome.
    outcomes: BTreeMap<String, u64>,
    /// The highest score.
    best: Option<Scored>,
    /// The highest score among those that are better beyond chance.
    incumbent: Option<Scored>,
    /// The initial program's score.
    initial_score: Option<f64>,
    /// Time worked on it, in seconds.
    seconds: f64,
    /// Processes that worked on it, one after another.
    sessions: u64,
    /// Proposals that mend a failed one.
    repairs: u64,
    /// Those of them that were measured.
    repaired: u64,
    /// Tokens sent.
    tokens_in: u64,
    /// Tokens received.
    tokens_out: u64,
    /// Price of all proposals and lessons; none if none has a price.
    cost: Option<f64>,
}

/// A program with its score.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Scored {
    /// Its number.
    number: u64,
    /// Its score.
    score: f64,
}

/// A run with what it was started from.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunDetail {
    #[serde(flatten)]
    run: RunSummary,
    /// How many proposals are asked for before the first outcome is known.
    lookahead: u32,
    /// The configuration as written: names of variables, no keys.
    config: String,
    /// Where it was read from.
    config_path: String,
    /// How many evaluations ran in which sandbox: `full`, `reduced`, `none`.
    sandboxes: BTreeMap<String, u64>,
    /// Who worked on it, oldest first.
    session_list: Vec<Session>,
}

/// One process's work on a run.
#[derive(Debug, Serialize, ToSchema)]
struct Session {
    /// When it began.
    started_at: i64,
    /// Its process id.
    pid: u32,
    /// The version of evolve.
    version: String,
    /// When it ended; none if it was killed or still runs.
    ended_at: Option<i64>,
    /// Why it ended, in words.
    reason: Option<String>,
}

impl RunSummary {
    pub(super) async fn read(service: &Service, run: Run) -> Result<Self, Problem> {
        let summary = service.db().summary(run.id).await?;
        let scored = |(number, score): (search::ProgramId, search::Score)| Scored {
            number: number.0,
            score: score.get(),
        };
        Ok(Self {
            id: run.id,
            created_at: run.created_at,
            title: run.title,
            problem: run.problem,
            seed: run.seed,
            status: service.status(run.id).await?,
            proposals: summary.proposals,
            programs: summary.programs,
            evaluations: summary.evaluations,
            pending: summary.pending,
            outcomes: summary.outcomes,
            best: summary.best.map(scored),
            incumbent: summary.incumbent.map(scored),
            initial_score: summary.initial.map(search::Score::get),
            seconds: summary.duration.as_secs_f64(),
            sessions: summary.sessions,
            repairs: summary.repairs,
            repaired: summary.repaired,
            tokens_in: summary.tokens_in,
            tokens_out: summary.tokens_out,
            cost: summary.cost,
        })
    }
}

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only those before this run.
    #[serde(default, deserialize_with = "super::number")]
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    after: Option<u64>,
    /// At most so many.
    #[serde(default = "some")]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: u32,
    /// Only those in this state.
    state: Option<RunState>,
}

fn some() -> u32 {
    50
}

/// Runs, the latest first.
#[utoipa::path(get, path = "/runs", tag = "runs", params(Which), responses((status = 200, body = Page<RunSummary>), Refusals))]
pub(super) async fn list(
    State(service): State<Service>,
    Query(which): Query<Which>,
) -> Result<Json<Page<RunSummary>>, Problem> {
    let limit = within(which.limit, 200)?;
    let mut items = Vec::new();
    let mut last = None;
    let mut runs = service
        .db()
        .runs()
        .await?
        .into_iter()
        .rev()
        .filter(|run| which.after.is_none_or(|after| run.id.cast_unsigned() < after));
    while items.len() < limit {
        let Some(run) = runs.next() else {
            last = None;
            break;
        };
        last = Some(run.id);
        if let Some(state) = which.state
            && service.status(run.id).await?.state != state
        {
            continue;
        }
        items.push(RunSummary::read(&service, run).await?);
    }
    let next = last.filter(|_| runs.next().is_some()).map(|run| run.to_string());
    Ok(Json(Page { items, next }))
}

/// One run.
#[utoipa::path(get, path = "/runs/{run}", tag = "runs",
    params(OfRun),
    responses((status = 200, body = RunDetail), Refusals))]
pub(super) async fn one(
    State(service): State<Service>,
    Path(OfRun { run }): Path<OfRun>,
) -> Result<Json<RunDetail>, Problem> {
    let db = service.db();
    let run = db.run(run).await?;
    let (lookahead, config, config_path) = (run.lookahead, run.config.clone(), run.config_path.clone());
    let sandboxes = db.sandboxes(Some(run.id)).await?;
    let session = |session: program_db::Session| Session {
        started_at: session.started_at,
        pid: session.pid,
        version: session.version,
        ended_at: session.ended_at,
        reason: session.reason,
    };
    let session_list = db.sessions(run.id).await?.into_iter().map(session).collect();
    let run = RunSummary::read(&service, run).await?;
    Ok(Json(RunDetail { run, lookahead, config, config_path, sandboxes, session_list }))
}

/// A version of what a model made of a run's outcomes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LessonVersion {
    /// Which version, from 1.
    version: u32,
    /// When.
    created_at: i64,
    /// Outcomes that it was made from.
    told: u64,
    /// The model.
    model: Option<String>,
    /// The lessons; empty if it gave none that could be used.
    lessons: Vec<String>,
    /// Why there are none.
    failure: Option<String>,
}

/// What a model wrote down as the lessons of a run, all versions.
#[utoipa::path(get, path = "/runs/{run}/lessons", tag = "runs",
    params(OfRun),
    responses((status = 200, body = Vec<LessonVersion>), Refusals))]
pub(super) async fn lessons(
    State(service): State<Service>,
    Path(OfRun { run }): Path<OfRun>,
) -> Result<Json<Vec<LessonVersion>>, Problem> {
    service.db().run(run).await?;
    let lessons = service.db().lessons(run).await?.into_iter().map(|attempt| {
        let (created_at, attempt) = (attempt.created_at, attempt.attempt);
        let (lessons, failure) = match attempt.lessons {
            Ok(lessons) => (lessons, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        LessonVersion {
            version: attempt.version,
            created_at,
            told: attempt.told,
            model: attempt.model,
            lessons,
            failure,
        }
    });
    Ok(Json(lessons.collect()))
}
