//! Programs: what a run tried, and what came of it.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use program_db::view::{Listed, Listing, Order, Place};
use program_db::{Program, RunId};
use search::ProgramId;
use serde::{Deserialize, Serialize};
use similar::TextDiff;
use utoipa::{IntoParams, ToSchema};

use super::super::Service;
use super::super::extract::{Path, Query};
use super::super::problem::Problem;
use super::{OfRun, Page, Refusals, within};
use crate::dossier::Dossier;

/// The run and the number in a path.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Which {
    /// The run.
    #[param(value_type = i64, minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 1)]
    run: RunId,
    /// The proposal's number in it, and so the program's; 0 is the initial program.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 1)]
    number: u64,
}

impl Which {
    fn number(self) -> ProgramId {
        ProgramId(self.number)
    }
}

/// One proposal in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListedProgram {
    /// Its number.
    number: u64,
    /// The program it was made from; none for the initial program.
    parent: Option<u64>,
    /// The island it was asked for.
    island: u64,
    /// Lineage depth; none if it led to no program.
    generation: Option<u32>,
    /// Who proposed.
    proposer: String,
    /// How.
    operator: String,
    /// The language model, if any.
    model: Option<String>,
    /// The price.
    cost: Option<f64>,
    /// When the reply was there.
    created_at: i64,
    /// How it ended: `measured`, or why not; none while it isn't evaluated.
    kind: Option<String>,
    /// The score, if measured.
    score: Option<f64>,
    /// Its parent's score, if that was measured.
    parent_score: Option<f64>,
    /// The verdict, if measured.
    verdict: Option<String>,
    /// How it ended, in one line.
    summary: Option<String>,
}

impl From<Listed> for ListedProgram {
    fn from(listed: Listed) -> Self {
        Self {
            number: listed.number.0,
            parent: listed.parent.map(|parent| parent.0),
            island: listed.island,
            generation: listed.generation,
            proposer: listed.proposer,
            operator: listed.operator,
            model: listed.model,
            cost: listed.cost,
            created_at: listed.created_at,
            kind: listed.kind,
            score: listed.score,
            parent_score: listed.parent_score,
            verdict: listed.verdict,
            summary: listed.message,
        }
    }
}

/// In which order.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ListOrder {
    /// The highest number first.
    #[default]
    Newest,
    /// The lowest number first.
    Oldest,
    /// The highest score first; only what was measured.
    Best,
}

/// Which ones, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// In which order.
    #[serde(default)]
    #[param(inline)]
    order: ListOrder,
    /// Only those that ended so: `measured`, `compile`, ...; or `pending`.
    kind: Option<String>,
    /// Only this island.
    #[serde(default, deserialize_with = "super::number")]
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    island: Option<u64>,
    /// Only by this model, or by this proposer where no model answered.
    by: Option<String>,
    /// The number that the page before ended with, as its `next` says.
    #[serde(default, deserialize_with = "super::number")]
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    after: Option<u64>,
    /// At most so many.
    #[serde(default = "some")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

fn some() -> u32 {
    100
}

/// A run's proposals, page by page.
#[utoipa::path(get, path = "/runs/{run}/programs", tag = "programs",
    params(OfRun, Wanted),
    responses((status = 200, body = Page<ListedProgram>), Refusals))]
pub(super) async fn list(
    State(service): State<Service>,
    Path(OfRun { run }): Path<OfRun>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Page<ListedProgram>>, Problem> {
    page(&service, run, None, wanted).await
}

/// What was made from a program, page by page: the best first if asked for, else in order of numbers.
#[utoipa::path(get, path = "/runs/{run}/programs/{number}/children", tag = "programs", params(Which, Wanted),
    responses((status = 200, body = Page<ListedProgram>), Refusals))]
pub(super) async fn children(
    State(service): State<Service>,
    Path(which): Path<Which>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Page<ListedProgram>>, Problem> {
    service.db().outcome(which.run, which.number()).await?;
    page(&service, which.run, Some(which.number()), wanted).await
}

async fn page(
    service: &Service,
    run: RunId,
    parent: Option<ProgramId>,
    wanted: Wanted,
) -> Result<Json<Page<ListedProgram>>, Problem> {
    let limit = within(wanted.limit, 1000)?;
    let db = service.db();
    db.run(run).await?;
    let after = match wanted.after.map(ProgramId) {
        None => None,
        Some(number) => {
            let score =
                db.outcome(run, number).await?.and_then(|outcome| outcome.score()).map(search::Score::get);
            if matches!(wanted.order, ListOrder::Best) && score.is_none() {
                return Err(Problem::bad_request(format!(
                    "after: proposal {number} has no score, so no page ended with it"
                )));
            }
            Some(Place { number, score })
        }
    };
    let order = match wanted.order {
        ListOrder::Newest => Order::Newest,
        ListOrder::Oldest => Order::Oldest,
        ListOrder::Best => Order::Best,
    };
    let Wanted { kind, island, by, .. } = wanted;
    // One more says whether there is a next page.
    let listing = Listing { order, kind, island, by, parent, after, limit: wanted.limit + 1 };
    let mut items = db.listing(run, &listing).await?;
    let is_more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| is_more).map(|last| last.number.to_string());
    Ok(Json(Page { items: items.into_iter().map(ListedProgram::from).collect(), next }))
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
    #[param(value_type = i64, minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 1)]
    run: RunId,
    /// One program.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 1)]
    number: u64,
    /// The other.
    #[param(minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 1)]
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
