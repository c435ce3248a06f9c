//! Programs: what a run tried, and what came of it.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use program_db::{Program, RunId};
use search::ProgramId;
use serde::{Deserialize, Serialize};
use similar::TextDiff;
use utoipa::{IntoParams, ToSchema};

use super::super::Service;
use super::super::extract::{Path, Query};
use super::super::problem::Problem;
use super::Refusals;
use crate::dossier::Dossier;

/// The run and the number in a path.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Which {
    /// The run.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    run: RunId,
    /// The proposal's number in it, and so the program's; 0 is the initial program.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    number: u64,
}

impl Which {
    fn number(self) -> ProgramId {
        ProgramId(self.number)
    }
}

/// What to add.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct More {
    /// Also the prompt and the reply that it came from.
    #[serde(default)]
    prompt: bool,
}

/// Everything about one proposal.
#[utoipa::path(get, path = "/runs/{run}/programs/{number}", tag = "programs", params(Which, More),
    responses((status = 200, body = Dossier), Refusals))]
pub(super) async fn one(
    State(service): State<Service>,
    Path(which): Path<Which>,
    Query(more): Query<More>,
) -> Result<Json<Dossier>, Problem> {
    Ok(Json(Dossier::read(service.db(), which.run, which.number(), more.prompt).await?))
}

/// A program's source, as it is.
#[utoipa::path(get, path = "/runs/{run}/programs/{number}/source", tag = "programs", params(Which),
    responses((status = 200, body = String, content_type = "text/plain"), Refusals))]
pub(super) async fn source(
    State(service): State<Service>,
    Path(which): Path<Which>,
) -> Result<impl IntoResponse, Problem> {
    Ok(text(service.db().program(which.run, which.number()).await?.source))
}

/// One ancestor.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ancestor {
    /// Its number.
    number: u64,
    /// Lineage depth.
    generation: u32,
    /// Its island.
    island: usize,
    /// What made it.
    operator: String,
    /// The model, else the proposer.
    by: String,
    /// How it ended, in one line.
    summary: Option<String>,
    /// The score, if measured.
    score: Option<f64>,
}

impl From<Program> for Ancestor {
    fn from(program: Program) -> Self {
        Self {
            number: program.number.0,
            generation: program.generation,
            island: program.island,
            score: program.score().map(search::Score::get),
            summary: program.outcome.as_ref().map(ToString::to_string),
            operator: program.operator,
            by: program.model.unwrap_or(program.proposer),
        }
    }
}

/// A program's ancestors, from the initial program to itself.
#[utoipa::path(get, path = "/runs/{run}/programs/{number}/lineage", tag = "programs", params(Which),
    responses((status = 200, body = Vec<Ancestor>), Refusals))]
pub(super) async fn lineage(
    State(service): State<Service>,
    Path(which): Path<Which>,
) -> Result<Json<Vec<Ancestor>>, Problem> {
    let lineage = service.db().lineage(which.run, which.number()).await?;
    Ok(Json(lineage.into_iter().map(Ancestor::from).collect()))
}

/// Two programs of one run.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Two {
    /// The run.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    run: RunId,
    /// One program.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    number: u64,
    /// The other.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    other: u64,
}

/// What differs between two programs, as a unified diff from the second to the first.
#[utoipa::path(get, path = "/runs/{run}/programs/{number}/diff/{other}", tag = "programs", params(Two),
    responses((status = 200, body = String, content_type = "text/plain"), Refusals))]
pub(super) async fn diff(
    State(service): State<Service>,
    Path(two): Path<Two>,
) -> Result<impl IntoResponse, Problem> {
    let db = service.db();
    let new = db.program(two.run, ProgramId(two.number)).await?.source;
    let old = db.program(two.run, ProgramId(two.other)).await?.source;
    let names = (format!("program {}/{}", two.run, two.other), format!("program {}/{}", two.run, two.number));
    let diff = TextDiff::from_lines(&old, &new)
        .unified_diff()
        .context_radius(3)
        .header(&names.0, &names.1)
        .to_string();
    Ok(text(diff))
}

/// A program measured against an opponent on fresh seeds, for the final report.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Comparison {
    /// `baseline` or `mlx_lm`.
    opponent: String,
    /// When it began.
    started_at: i64,
    /// When it ended.
    ended_at: i64,
    /// The protocol's last word with all its numbers.
    #[schema(value_type = Option<Object>)]
    judgement: Option<serde_json::Value>,
    /// Its trials, with the columns of the table `trial`.
    #[schema(value_type = Vec<Object>)]
    trials: Vec<serde_json::Value>,
}

/// A program's comparisons, the latest first.
#[utoipa::path(get, path = "/runs/{run}/programs/{number}/comparisons", tag = "programs", params(Which),
    responses((status = 200, body = Vec<Comparison>), Refusals))]
pub(super) async fn comparisons(
    State(service): State<Service>,
    Path(which): Path<Which>,
) -> Result<Json<Vec<Comparison>>, Problem> {
    let comparison = |stored: program_db::Comparison| Comparison {
        opponent: stored.opponent,
        started_at: stored.evaluation.started_at,
        ended_at: stored.evaluation.ended_at,
        judgement: stored.evaluation.judgement,
        trials: stored.trials.iter().map(|trial| serde_json::to_value(trial).unwrap_or_default()).collect(),
    };
    let all = service.db().comparisons(which.run, which.number()).await?;
    Ok(Json(all.into_iter().map(comparison).collect()))
}

/// Text to be shown as text, whatever is in it.
fn text(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text)
}
