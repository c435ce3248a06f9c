//! The page that asks a browser's user for the token.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;

use super::Service;
use super::guard::form::{FIELD, Form, FormSecret};
use super::problem::Problem;

pub(super) fn routes() -> Router<Service> {
    Router::new().route("/login", get(show).post(log_in)).route("/logout", post(log_out))
}

async fn show(State(service): State<Service>, secret: FormSecret) -> Response {
    if service.guard().has_token() {
        page(&secret, None).into_response()
    } else {
        Redirect::to("/").into_response()
    }
}

#[derive(Deserialize)]
struct Login {
    token: String,
}

async fn log_in(
    State(service): State<Service>,
    secret: FormSecret,
    Form(login): Form<Login>,
) -> Result<Response, Problem> {
    let cookie = service.guard().log_in(login.token.trim()).map_err(|error| {
        tracing::error!(%error, "no randomness for a session");
        Problem::internal()
    })?;
    match cookie {
        Some(cookie) => with_cookie(Redirect::to("/"), &cookie),
        None => {
            let page = page(&secret, Some("That is not the token. It is what the server was started with."));
            Ok((StatusCode::UNAUTHORIZED, page).into_response())
        }
    }
}

#[derive(Deserialize)]
struct Nothing {}

async fn log_out(
    State(service): State<Service>,
    headers: HeaderMap,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Response, Problem> {
    with_cookie(Redirect::to("/login"), &service.guard().log_out(&headers))
}

fn with_cookie(response: impl IntoResponse, cookie: &str) -> Result<Response, Problem> {
    let cookie = HeaderValue::from_str(cookie).map_err(|_| Problem::internal())?;
    let mut response = response.into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

fn page(secret: &FormSecret, wrong: Option<&str>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "evolve: log in" }
                link rel="stylesheet" href="/assets/style.css";
            }
            body {
                main {
                    h1 { "evolve" }
                    form method="post" action="/login" {
                        input type="hidden" name=(FIELD) value=(secret.0);
                        p {
                            label for="token" { "Token" }
                            " "
                            input id="token" name="token" type="password" autocomplete="current-password" required autofocus;
                        }
                        @if let Some(wrong) = wrong { p role="alert" { (wrong) } }
                        p { button type="submit" { "Log in" } }
                    }
                }
            }
        }
    }
}
