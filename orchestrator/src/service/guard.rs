//! Who may ask, and how: every request passes here before any handler sees it.
//!
//! - The `Host` must be a name of ours. A foreign page whose name was made to point at this machine (DNS rebinding) says its own.
//! - The token, if there is one: as `Authorization: Bearer`, or by the cookie that the login page gives for it.
//! - What changes something must come from a page of ours (`Origin`, `Sec-Fetch-Site`) or from a program that says neither, and as JSON
//!   or as a form with the secret of this page ([`form::Form`]): no foreign page can send either without being asked first.

pub mod form;
mod host;
mod origin;
mod session;

use std::io;
use std::panic::AssertUnwindSafe;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use futures::FutureExt as _;

use self::host::Hosts;
use self::session::Sessions;
use super::Service;
use super::problem::Problem;
use super::settings::{Settings, Token};

/// The rules, and who has logged in.
#[derive(Debug)]
pub(crate) struct Guard {
    hosts: Hosts,
    token: Option<Token>,
    sessions: Sessions,
}

impl Guard {
    pub(super) fn new(settings: &Settings) -> io::Result<Self> {
        Ok(Self {
            hosts: Hosts::new(settings.listen, &settings.hosts),
            token: settings.token.clone(),
            sessions: Sessions::new(settings.listen.port())?,
        })
    }

    /// A new session's cookie, if this is the token.
    pub(super) fn log_in(&self, token: &str) -> io::Result<Option<String>> {
        match &self.token {
            Some(ours) if ours.is(token) => self.sessions.begin().map(Some),
            _ => Ok(None),
        }
    }

    /// Ends the session of a request.
    pub(super) fn log_out(&self, headers: &HeaderMap) -> String {
        self.sessions.end(headers)
    }

    /// Whether there is anything to log in to.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// What a form of ours carries so that it can be told from a foreign one.
    pub(super) fn form_secret(&self) -> &str {
        self.sessions.form_secret()
    }

    fn is_form_secret(&self, text: &str) -> bool {
        self.sessions.is_form_secret(text)
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let bearer =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
                let (scheme, token) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
            });
        match bearer {
            Some(bearer) => token.is(bearer),
            None => self.sessions.has(headers),
        }
    }

    /// Why a request is not served, if it isn't.
    fn refusal(&self, request: &Request) -> Option<Response> {
        if let Err(problem) = self.hosts.check(request) {
            return Some(problem.into_response());
        }
        if !is_open(request.uri().path()) && !self.knows(request.headers()) {
            return Some(stranger(request));
        }
        origin::check(request).err().map(IntoResponse::into_response)
    }
}

/// What everybody may see: nothing of any run.
fn is_open(path: &str) -> bool {
    path == "/healthz" || path == "/login" || path.starts_with("/assets/")
}

/// A person is led to the login page, a program is told what is missing.
fn stranger(request: &Request) -> Response {
    let wants_page = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let wants_page = wants_page.is_some_and(|accept| accept.contains("text/html"));
    let is_api = request.uri().path().starts_with("/api/");
    if wants_page && !is_api && matches!(*request.method(), Method::GET | Method::HEAD) {
        return Redirect::to("/login").into_response();
    }
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "a token is needed: send `Authorization: Bearer TOKEN`, or log in at /login",
    )
    .into_response()
}

/// The outermost layer: checks the request, catches what panics, and says how browsers have to treat the answer.
pub(super) async fn watch(State(service): State<Service>, request: Request, next: Next) -> Response {
    let mut response = match service.guard().refusal(&request) {
        None => {
            let path = request.uri().path().to_owned();
            AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(path, "a request's handler panicked");
                Problem::internal().into_response()
            })
        }
        Some(refused) => refused,
    };
    protect(response.headers_mut());
    response
}

/// No page of ours runs anything that isn't ours, is shown inside another, or is kept by a cache unless it says so.
fn protect(headers: &mut HeaderMap) {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                          form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let fixed: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: with that, browsers say `Origin: null` for the forms of our own pages.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
