//! REST, under `/api/v1`, described by its own OpenAPI document: the same attributes make routes and document.

mod control;
mod feed;
mod programs;
mod queries;
mod runs;

use axum::Router;
use axum::routing::get;
use program_db::RunId;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::problem::Problem;

/// Where everything of this version lies.
const BASE: &str = "/api/v1";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "evolve",
        description = "Evolutionary code search: watch, steer and query runs. Times are milliseconds since the Unix epoch. Texts of \
                       programs, models and evaluators are given as they are stored: whoever shows them must treat them as text.",
    ),
    components(schemas(Problem)),
    modifiers(&Token),
    security((), ("token" = [])),
    tags(
        (name = "runs", description = "What runs there are, and how they stand"),
        (name = "control", description = "Starting, pausing, resuming"),
        (name = "programs", description = "What a run tried"),
        (name = "queries", description = "Questions of one's own"),
        (name = "events", description = "What happens, as it happens"),
    )
)]
struct Document;

/// A server that was started without a token asks for none.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// What any request may be answered with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it is there for the document")]
enum Refusals {
    /// The request can't be read.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// The token is missing or wrong.
    #[response(status = 401, content_type = "application/problem+json")]
    Stranger(Problem),
    /// It isn't allowed, or comes from another site's page.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// There is no such run or program.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// As things stand it can't be done.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// The body is too long.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLong(Problem),
    /// The address is too long.
    #[response(status = 414)]
    TooLongAddress,
    /// The body isn't JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// It was understood, and what it asks for came to nothing.
    #[response(status = 422, content_type = "application/problem+json")]
    CameToNothing(Problem),
    /// Too much at once.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMuch(Problem),
}

/// The run in a path.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfRun {
    /// The run's number. (No JSON reader keeps larger integers exactly.)
    #[param(value_type = i64, minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 1)]
    run: RunId,
}

/// Some of a list, and where the next ones begin.
#[derive(Debug, Serialize, ToSchema)]
struct Page<T> {
    /// In order.
    items: Vec<T>,
    /// The value of `after` for the next page; none: this is the last one.
    next: Option<String>,
}

/// The largest integer that every JSON reader keeps exactly, and the largest that requests may name.
const LARGEST: u64 = (1 << 53) - 1;

/// Reads a number of a query.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<u64>::deserialize(deserializer)?;
    match number {
        Some(number) if number > LARGEST => {
            Err(serde::de::Error::custom(format_args!("{number} is above {LARGEST}")))
        }
        number => Ok(number),
    }
}

/// A limit that a request may set.
fn within(limit: u32, most: u32) -> Result<usize, Problem> {
    if (1..=most).contains(&limit) {
        return Ok(limit as usize);
    }
    Err(Problem::bad_request(format!("limit: from 1 to {most}, not {limit}")))
}

/// The routes, with the document that describes exactly these.
pub(super) fn routes() -> Router<Service> {
    let api = OpenApiRouter::new()
        .routes(routes!(runs::list, control::start))
        .routes(routes!(runs::one))
        .routes(routes!(runs::lessons))
        .routes(routes!(control::pause))
        .routes(routes!(control::stop))
        .routes(routes!(control::resume))
        .routes(routes!(control::configs))
        .routes(routes!(control::starts))
        .routes(routes!(control::start_of))
        .routes(routes!(programs::list))
        .routes(routes!(programs::one))
        .routes(routes!(programs::source))
        .routes(routes!(programs::lineage))
        .routes(routes!(programs::children))
        .routes(routes!(programs::diff))
        .routes(routes!(programs::comparisons))
        .routes(routes!(queries::filter))
        .routes(routes!(queries::sql))
        .routes(routes!(feed::all))
        .routes(routes!(feed::of_run));
    let (router, document) =
        OpenApiRouter::with_openapi(Document::openapi()).nest(BASE, api).split_for_parts();
    router.route(&format!("{BASE}/openapi.json"), get(async move || axum::Json(document)))
}
