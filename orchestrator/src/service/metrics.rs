//! `/metrics`: figures for Prometheus, of this server and of the runs in its database.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use program_db::{Run, Summary};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tracing::Instrument as _;

use super::Service;
use super::problem::Problem;
use super::run_state::RunStatus;

/// Runs that are told of beside those at work: the latest.
const LATEST: usize = 20;

/// How long figures of runs are kept: several scrapers, or an eager one, don't read the database more often.
const FRESH: Duration = Duration::from_secs(2);

/// Seconds.
const BUCKETS: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

type Labels = Vec<(&'static str, String)>;
type Durations = Family<Labels, Histogram, fn() -> Histogram>;

/// What this server counts.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    seconds: Durations,
    streams: Gauge,
    /// The runs' figures as they were last written, and when.
    runs: tokio::sync::Mutex<Option<(Instant, String)>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(...)")
    }
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("evolve");
        let requests = Family::<Labels, Counter>::default();
        registry.register("http_requests", "Requests that were answered", requests.clone());
        let seconds: Durations = Family::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register_with_unit(
            "http_request",
            "Time until an answer began",
            Unit::Seconds,
            seconds.clone(),
        );
        let streams = Gauge::default();
        registry.register("event_streams", "Open event streams", streams.clone());
        Self { registry, requests, seconds, streams, runs: tokio::sync::Mutex::default() }
    }

    /// Counts an event stream until it is dropped.
    pub(super) fn stream(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.streams.clone())
    }
}

/// An event stream that is counted.
pub(super) struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The outermost layer: counts what is answered and how soon, and gives each request a span.
pub(super) async fn count(State(service): State<Service>, request: Request, next: Next) -> Response {
    // The pattern, not the address: there are only so many of them.
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "none".to_owned(), |route| route.as_str().to_owned());
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let span = tracing::info_span!("request", method, route, status = tracing::field::Empty);
    let begun = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    let metrics = &service.0.metrics;
    metrics.seconds.get_or_create(&vec![("route", route.clone())]).observe(begun.elapsed().as_secs_f64());
    let labels =
        vec![("method", method), ("route", route), ("status", response.status().as_str().to_owned())];
    metrics.requests.get_or_create(&labels).inc();
    response
}

pub(super) fn routes() -> Router<Service> {
    Router::new().route("/metrics", get(show))
}

async fn show(State(service): State<Service>) -> Result<Response, Problem> {
    let mut text = String::new();
    let broken = |_| Problem::internal();
    encode_registry(&mut text, &service.0.metrics.registry).map_err(broken)?;
    text.push_str(&runs(&service).await?);
    encode_eof(&mut text).map_err(broken)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// The runs' figures: those of now, or of a moment ago.
async fn runs(service: &Service) -> Result<String, Problem> {
    let mut kept = service.0.metrics.runs.lock().await;
    if let Some((at, text)) = &*kept
        && at.elapsed() < FRESH
    {
        return Ok(text.clone());
    }
    let figures = RunFigures::default();
    for (index, run) in service.db().runs().await?.into_iter().rev().enumerate() {
        let status = service.status(run.id).await?;
        if index < LATEST || status.state.is_active() {
            let summary = service.db().summary(run.id).await?;
            figures.add(&run, &status, &summary);
        }
    }
    let mut text = String::new();
    encode_registry(&mut text, &figures.registry()).map_err(|_| Problem::internal())?;
    *kept = Some((Instant::now(), text.clone()));
    Ok(text)
}

/// A count that only grows.
type Count = Family<Labels, Counter>;
/// A figure that only grows.
type Sum = Family<Labels, Counter<f64, AtomicU64>>;
/// A figure that may fall.
type Level = Family<Labels, Gauge<f64, AtomicU64>>;

/// What is told of runs: as it stands in the database, so made anew each time.
#[derive(Default)]
struct RunFigures {
    state: Level,
    proposals: Count,
    outcomes: Count,
    pending: Level,
    best: Level,
    initial: Level,
    tokens: Count,
    cost: Sum,
    seconds: Sum,
}

impl RunFigures {
    fn add(&self, run: &Run, status: &RunStatus, summary: &Summary) {
        let of = || vec![("run", run.id.to_string())];
        let with =
            |name: &'static str, value: &str| vec![("run", run.id.to_string()), (name, value.to_owned())];
        self.state.get_or_create(&with("state", status.state.as_str())).set(1.0);
        self.proposals.get_or_create(&of()).inc_by(summary.proposals);
        for (kind, count) in &summary.outcomes {
            self.outcomes.get_or_create(&with("kind", kind)).inc_by(*count);
        }
        self.pending.get_or_create(&of()).set(summary.pending as f64);
        if let Some((_, best)) = summary.best {
            self.best.get_or_create(&of()).set(best.get());
        }
        if let Some(initial) = summary.initial {
            self.initial.get_or_create(&of()).set(initial.get());
        }
        self.tokens.get_or_create(&with("direction", "in")).inc_by(summary.tokens_in);
        self.tokens.get_or_create(&with("direction", "out")).inc_by(summary.tokens_out);
        if let Some(cost) = summary.cost {
            self.cost.get_or_create(&of()).inc_by(cost);
        }
        self.seconds.get_or_create(&of()).inc_by(summary.duration.as_secs_f64());
    }

    fn registry(self) -> Registry {
        let mut registry = Registry::with_prefix("evolve_run");
        registry.register("state", "What a run does: 1 for the state that it is in", self.state);
        registry.register("proposals", "Proposals, failed ones too", self.proposals);
        registry.register("outcomes", "Proposals that have ended, by how", self.outcomes);
        registry.register("pending", "Programs without an outcome", self.pending);
        registry.register("best_score", "The highest score", self.best);
        registry.register("initial_score", "The initial program's score", self.initial);
        registry.register("tokens", "Tokens of language models", self.tokens);
        registry.register("cost", "Price of language models, in the configuration's currency", self.cost);
        registry.register_with_unit("worked", "Time worked on it", Unit::Seconds, self.seconds);
        registry
    }
}
