//! What is answered when a page can't be shown: a page that says why.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;
use program_db::DbError;

use super::format::visible;
use super::layout::{Page, Place};
use crate::service::problem::Problem;

/// Why there is no page.
#[derive(Debug)]
pub(super) struct Failure(Problem);

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self(error.into())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = self.0;
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = html! {
            h1 { (problem.title) }
            p class="lead" { (visible(&problem.detail)) }
            p { a href="/" { "All runs" } }
        };
        Page { title: problem.title.to_owned(), place: Place::Runs, run: None, from: None, body }
            .with_status(status)
    }
}
