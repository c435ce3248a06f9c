//! Sends one HTTP request and nothing more: the retries are ours, since those of the client library would
//! multiply with them, and a refusal keeps its headers and its body.

use std::error::Error;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use futures::future::BoxFuture;
use tower_service::Service;

use super::refusal::{Refusal, retry_after};
use crate::proposer::{ProposerError, Secret};

/// Longest answer that is read, in bytes.
const LONGEST_BODY: usize = 16 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Transport {
    client: reqwest::Client,
    timeout: Duration,
    /// Not to be quoted.
    key: Secret,
}

impl Transport {
    /// `timeout` is for a whole exchange, connecting included.
    pub(super) fn new(api_base: &str, timeout: Duration, key: Secret) -> Result<Self, ProposerError> {
        install_cryptography();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            // A redirected POST loses its body; better to hear of it.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("evolve/", env!("CARGO_PKG_VERSION")));
        if is_local(api_base) {
            // A proxy for the world can't reach a server on this machine.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            ProposerError::setup(
                format!("the HTTP client can't be set up: {}", causes(&error)),
                "check that this machine has its certificates (package ca-certificates)",
            )
        })?;
        Ok(Self { client, timeout, key })
    }

    /// The client that builds requests; they are sent by [`Service::call`].
    pub(super) fn client(&self) -> reqwest::Client {
        self.client.clone()
    }

    async fn exchange(self, request: HttpRequestFactory) -> Result<reqwest::Response, Refusal> {
        let Self { client, timeout, key } = self;
        let work = async {
            let request = request.build().await.map_err(|error| Refusal::Broken(error.to_string()))?;
            let mut response = client.execute(request).await.map_err(refusal)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(refusal)? {
                if body.len() + chunk.len() > LONGEST_BODY {
                    return Err(Refusal::Garbage("it is longer than 16 MiB".to_owned()));
                }
                body.extend_from_slice(&chunk);
            }
            if !status.is_success() {
                return Err(Refusal::Status {
                    status: status.as_u16(),
                    retry_after: retry_after(&headers, SystemTime::now()),
                    body: String::from_utf8_lossy(&body).into_owned(),
                });
            }
            if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_err() {
                // Redacted before it is cut: half a key is too much.
                let start: String = key.redact(&String::from_utf8_lossy(&body)).chars().take(80).collect();
                return Err(Refusal::Garbage(format!("it begins with {start:?}")));
            }
            let mut whole = http::Response::new(body);
            *whole.status_mut() = status;
            Ok(reqwest::Response::from(whole))
        };
        match tokio::time::timeout(timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(Refusal::Timeout(timeout)),
        }
    }
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
    match error {
        OpenAIError::Boxed(error) => match error.downcast::<Refusal>() {
            Ok(refusal) => *refusal,
            Err(other) => Refusal::Broken(other.to_string()),
        },
        OpenAIError::JSONDeserialize(error, _) => Refusal::Garbage(error.to_string()),
        other => Refusal::Broken(other.to_string()),
    }
}

fn refusal(error: reqwest::Error) -> Refusal {
    let error = error.without_url();
    if error.is_connect() || error.is_builder() {
        Refusal::Connect(causes(&error))
    } else {
        Refusal::Broken(causes(&error))
    }
}

/// The innermost cause says what happened; what wraps it says "error sending request".
fn causes(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    innermost.to_string()
}

fn is_local(api_base: &str) -> bool {
    let url = reqwest::Url::parse(api_base).ok();
    url.as_ref().and_then(reqwest::Url::host_str).is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

/// TLS needs one implementation per process; whoever comes first has installed the same.
fn install_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _: Result<(), Arc<_>> = rustls::crypto::ring::default_provider().install_default();
    }
}
