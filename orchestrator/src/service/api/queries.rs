//! Questions of one's own: filters, and SQL that only reads, within limits.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use program_db::{DbError, SqlLimits, Table, Value};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::Service;
use super::super::extract::{Json as Body, Path, Query};
use super::super::problem::Problem;
use super::{OfRun, Refusals, within};

/// Most rows of an answer.
const ROWS: u32 = 10_000;

/// Most bytes of an answer, and of one value.
const BYTES: usize = 4 << 20;

/// Most time of one question.
const TIME: Duration = Duration::from_secs(5);

/// How long a question waits for others to be answered.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a question found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Answer {
    /// The columns' names; SQL may give two of the same name.
    columns: Vec<String>,
    /// The rows, each as long as `columns`. A value is null, a number, text, or, if it is bytes that aren't text, an array of numbers.
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    rows: Vec<Vec<Value>>,
    /// Whether there was more.
    truncated: bool,
}

impl From<Table> for Answer {
    fn from(table: Table) -> Self {
        Self { columns: table.columns, rows: table.rows, truncated: table.truncated }
    }
}

/// A filter.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// As in `evolve query`: `score > 1.1 and island = 2 order by score desc`. Without one, all proposals.
    #[serde(default)]
    filter: String,
    /// At most so many rows.
    #[serde(default = "some")]
    #[param(minimum = 1, maximum = 10_000, default = 100)]
    limit: u32,
}

/// An SQL query.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sql {
    /// One statement that reads; the tables and views are described in migrations/README.md.
    #[schema(example = "SELECT run, number, score FROM proposals ORDER BY score DESC LIMIT 10")]
    sql: String,
    /// At most so many rows.
    #[serde(default = "some")]
    #[schema(minimum = 1, maximum = 10_000, default = 100)]
    limit: u32,
}

fn some() -> u32 {
    100
}

/// Proposals of a run that a filter finds.
#[utoipa::path(get, path = "/runs/{run}/query", tag = "queries",
    params(OfRun, Filter),
    responses((status = 200, body = Answer), Refusals))]
pub(super) async fn filter(
    State(service): State<Service>,
    Path(OfRun { run }): Path<OfRun>,
    Query(filter): Query<Filter>,
) -> Result<Json<Answer>, Problem> {
    let limits = limits(filter.limit)?;
    let db = service.db().clone();
    answer(&service, async move { db.query_within(Some(run), &filter.filter, limits).await }).await
}

/// Answer one SQL statement that only reads, in at most 5 seconds and 4 MB.
#[utoipa::path(post, path = "/sql", tag = "queries", request_body = Sql, responses((status = 200, body = Answer), Refusals))]
pub(super) async fn sql(
    State(service): State<Service>,
    Body(sql): Body<Sql>,
) -> Result<Json<Answer>, Problem> {
    let limits = limits(sql.limit)?;
    let db = service.db().clone();
    answer(&service, async move { db.sql_within(&sql.sql, limits).await }).await
}

fn limits(rows: u32) -> Result<SqlLimits, Problem> {
    Ok(SqlLimits { rows: within(rows, ROWS)?, bytes: BYTES, time: TIME })
}

/// Asks when there is a turn for it: a run has the machine first. The turn lasts until the question is answered or stopped, also if the
/// client has gone meanwhile.
async fn answer(
    service: &Service,
    question: impl Future<Output = Result<Table, DbError>> + Send + 'static,
) -> Result<Json<Answer>, Problem> {
    let Ok(Ok(turn)) = tokio::time::timeout(PATIENCE, service.0.questions.clone().acquire_owned()).await
    else {
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "other questions are being answered; try again in a few seconds",
        ));
    };
    let asked = tokio::spawn(async move {
        let _turn = turn;
        question.await
    });
    let table = asked.await.map_err(|error| {
        tracing::error!(%error, "a question broke");
        Problem::internal()
    })?;
    Ok(Json(table?.into()))
}
