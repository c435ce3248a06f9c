//! Sends one HTTP request and nothing more: the retries are ours, since those of the client library would
//! multiply with them, and a refusal keeps its headers and its body. A streamed answer is put together here.

use std::error::Error;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, LOCATION};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use super::model::Model;
use super::proxy;
use super::refusal::{Refusal, retry_after};
use super::stream::{Broken, Fed, LONGEST_TEXT, Partial, Pieces};
use crate::proposer::{ProposerError, Secret};

/// Longest answer that is read in one piece, in bytes.
const LONGEST_BODY: usize = 4 * LONGEST_TEXT;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Transport {
    client: reqwest::Client,
    /// For a whole exchange, connecting included.
    timeout: Duration,
    /// Between two pieces of a streamed answer, once it has begun.
    idle_timeout: Duration,
    /// Not to be quoted.
    key: Secret,
}

/// An answer while it arrives.
#[derive(Default)]
struct Arriving {
    pieces: Pieces,
    whole: Vec<u8>,
    /// Whether anything of the body has come.
    alive: bool,
}

impl Transport {
    /// A client for one model.
    pub(super) fn new(model: &Model) -> Result<Self, ProposerError> {
        install_cryptography();
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(model.timeout))
            // A redirected POST loses its body; better to hear of it.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("evolve/", env!("CARGO_PKG_VERSION")));
        let client = proxy::set(builder, model)?.build().map_err(|error| {
            ProposerError::setup(
                format!("the HTTP client can't be set up: {}", causes(&error)),
                "check that this machine has its certificates (package ca-certificates)",
            )
        })?;
        let Model { timeout, idle_timeout, api_key, .. } = model;
        Ok(Self { client, timeout: *timeout, idle_timeout: *idle_timeout, key: api_key.clone() })
    }

    /// The client that builds requests; they are sent by [`Service::call`].
    pub(super) fn client(&self) -> reqwest::Client {
        self.client.clone()
    }

    /// Sends it; the response that comes back holds a whole chat completion, however it arrived.
    async fn exchange(self, request: HttpRequestFactory) -> Result<reqwest::Response, Refusal> {
        let end = Instant::now() + self.timeout;
        let mut arriving = Arriving::default();
        let unsent = |error: OpenAIError| Refusal::Connect(error.to_string());
        let sending =
            async { self.client.execute(request.build().await.map_err(unsent)?).await.map_err(refusal) };
        let mut response = match timeout_at(end, sending).await {
            Ok(response) => response?,
            Err(_) => return Err(self.too_late(&arriving)),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let streamed = status.is_success() && kind.starts_with("text/event-stream");
        loop {
            let until = match (Instant::now() + self.idle_timeout).min(end) {
                idle if streamed && arriving.pieces.has_begun() => idle,
                _ => end,
            };
            let chunk = match timeout_at(until, response.chunk()).await {
                Ok(chunk) => chunk.map_err(|error| broken(&error, arriving.so_far(streamed)))?,
                Err(_) if until < end => {
                    let partial = arriving.so_far(streamed);
                    return Err(Refusal::Stalled { after: self.idle_timeout, partial });
                }
                Err(_) => return Err(self.too_late(&arriving)),
            };
            let Some(chunk) = chunk else { break };
            arriving.alive = true;
            if streamed {
                match arriving.pieces.feed(&chunk) {
                    Ok(Fed::More) => {}
                    Ok(Fed::Done) => break,
                    Err(error) => return Err(self.early_end(error, &arriving)),
                }
            } else {
                arriving.whole.extend_from_slice(&chunk);
                if arriving.whole.len() > LONGEST_BODY {
                    return Err(Refusal::TooLong { limit: LONGEST_BODY, partial: arriving.so_far(false) });
                }
            }
        }
        if !status.is_success() {
            return Err(Refusal::Status {
                status: status.as_u16(),
                retry_after: retry_after(&headers, SystemTime::now()),
                location: headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned),
                body: String::from_utf8_lossy(&arriving.whole).into_owned(),
            });
        }
        let completion = if streamed {
            arriving.pieces.complete().map_err(|error| self.early_end(error, &arriving))?
        } else {
            self.completion(&arriving.whole)?
        };
        Ok(reqwest::Response::from(http::Response::new(completion.to_string())))
    }

    /// Reads an answer that came in one piece. A byte that is no UTF-8 costs no more than itself.
    fn completion(&self, body: &[u8]) -> Result<Value, Refusal> {
        let body = String::from_utf8_lossy(body);
        let Ok(completion) = serde_json::from_str::<Value>(&body) else {
            return Err(self.garbage(&body, Partial::default()));
        };
        match failure(&completion) {
            Some(failure) => Err(failure),
            None => Ok(completion),
        }
    }

    fn garbage(&self, text: &str, partial: Partial) -> Refusal {
        // Redacted before it is cut: half a key is too much.
        let begins: String = self.key.redact(text).chars().take(80).collect();
        Refusal::Garbage { begins: format!("it begins with {begins:?}"), partial }
    }

    fn early_end(&self, error: Broken, arriving: &Arriving) -> Refusal {
        let partial = arriving.so_far(true);
        match error {
            Broken::NotJson(text) => self.garbage(&text, partial),
            Broken::TooLong => Refusal::TooLong { limit: LONGEST_TEXT, partial },
            Broken::CutOff => {
                Refusal::Broken { why: "the stream ended before the answer did".to_owned(), partial }
            }
            // With a part of an answer before it this was paid for, so it isn't just a refusal.
            Broken::Error(event) if partial.bytes > 0 => {
                let words: String = self.key.redact(&event.to_string()).chars().take(200).collect();
                Refusal::Broken { why: format!("the endpoint reports {words}"), partial }
            }
            Broken::Error(event) => {
                failure(&event).unwrap_or_else(|| self.garbage(&event.to_string(), partial))
            }
        }
    }

    fn too_late(&self, arriving: &Arriving) -> Refusal {
        Refusal::Timeout { after: self.timeout, alive: arriving.alive, partial: arriving.so_far(true) }
    }
}

impl Arriving {
    fn so_far(&self, streamed: bool) -> Partial {
        if streamed { self.pieces.so_far() } else { Partial { text: String::new(), bytes: self.whole.len() } }
    }
}

/// An error that came with a status of success, as from services that pass on what others answer.
fn failure(body: &Value) -> Option<Refusal> {
    let error = body.get("error").filter(|error| !error.is_null())?;
    if body.get("choices").is_some_and(|choices| !choices.is_null()) {
        return None;
    }
    let code = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    Some(Refusal::Status {
        status: code.filter(|code| (400..600).contains(code)).unwrap_or(500),
        retry_after: None,
        location: None,
        body: body.to_string(),
    })
}

impl Service<HttpRequestFactory> for Transport {
    type Response = reqwest::Response;
    type Error = Refusal;
    type Future = BoxFuture<'static, Result<reqwest::Response, Refusal>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequestFactory) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}

impl From<Refusal> for OpenAIError {
    fn from(refusal: Refusal) -> Self {
        Self::Boxed(Box::new(refusal))
    }
}

/// Gets our own error back out of the client library's.
pub(super) fn from_library(error: OpenAIError) -> Refusal {
    let broken = |why: String| Refusal::Broken { why, partial: Partial::default() };
    match error {
        OpenAIError::Boxed(error) => match error.downcast::<Refusal>() {
            Ok(refusal) => *refusal,
            Err(other) => broken(other.to_string()),
        },
        other => broken(other.to_string()),
    }
}

fn refusal(error: reqwest::Error) -> Refusal {
    if error.is_connect() || error.is_builder() {
        Refusal::Connect(causes(&error.without_url()))
    } else {
        broken(&error, Partial::default())
    }
}

fn broken(error: &reqwest::Error, partial: Partial) -> Refusal {
    Refusal::Broken { why: causes(error), partial }
}

/// The innermost cause says what happened; what wraps it says "error sending request".
fn causes(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    innermost.to_string()
}

/// TLS needs one implementation per process; whoever comes first has installed the same.
pub(crate) fn install_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _: Result<(), Arc<_>> = rustls::crypto::ring::default_provider().install_default();
    }
}
