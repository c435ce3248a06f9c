//! Diagnostics for developers: on standard error, as lines or as JSON, and as spans for an OpenTelemetry collector. What users read goes
//! through `progress` and the command line.
//!
//! Spans say what was done and how long it took (a run, its proposals and evaluations, the service's requests), never what was in it.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::cli::{Cli, LogFormat};
use crate::config;
use crate::exit_code::Failure;
use crate::proposer::llm::transport::install_cryptography;

/// How long the collector may take to answer; a run never waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What has to be finished when the process ends.
#[derive(Debug, Default)]
pub struct Logging {
    spans: Option<SdkTracerProvider>,
}

impl Logging {
    /// Sends the spans that are still here.
    pub fn finish(self) {
        if let Some(Err(error)) = self.spans.map(|spans| spans.shutdown_with_timeout(PATIENCE)) {
            tracing::warn!("not all spans could be sent: {error}");
        }
    }
}

/// Warnings only, unless `-v` (info) or `-vv` (debug) asks for more. No colour when piped.
///
/// # Errors
/// The collector's address is none.
pub fn start(cli: &Cli) -> Result<Logging, Failure> {
    let level = match cli.verbosity() {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    // A collector that is away for a while is said once, at the end, unless somebody wants to know.
    let exporter = if level == LevelFilter::WARN { LevelFilter::OFF } else { level };
    let lines = Targets::new()
        .with_default(level)
        .with_target("opentelemetry", exporter)
        .with_target("opentelemetry_sdk", exporter)
        .with_target("opentelemetry-otlp", exporter);
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let words = match cli.log_format {
        LogFormat::Text => {
            fmt::layer().with_writer(std::io::stderr).with_ansi(colour).with_target(false).boxed()
        }
        LogFormat::Json => fmt::layer().json().with_writer(std::io::stderr).boxed(),
    };
    let endpoint = cli.otlp.clone().or_else(config::otlp_endpoint);
    let spans = endpoint.map(|endpoint| exporting(&endpoint)).transpose()?;
    let sent = spans.as_ref().map(|spans| {
        // Our own: those of the libraries that send them would never end.
        let ours = Targets::new().with_target("orchestrator", LevelFilter::INFO);
        tracing_opentelemetry::layer().with_tracer(spans.tracer("evolve")).with_filter(ours)
    });
    tracing_subscriber::registry().with(words.with_filter(lines)).with(sent).init();
    Ok(Logging { spans })
}

/// Spans are collected and sent by a thread of its own; what can't be sent in time is dropped.
fn exporting(endpoint: &str) -> Result<SdkTracerProvider, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "--otlp {endpoint}: {error}; a collector's address looks like http://127.0.0.1:4318"
        ))
    };
    let base: http::Uri = endpoint.parse().map_err(|error| wrong(&error))?;
    if !matches!(base.scheme_str(), Some("http" | "https")) {
        return Err(wrong(&"it must begin with http:// or https://"));
    }
    install_cryptography();
    let client = reqwest::blocking::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| wrong(&error))?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(client)
        .with_timeout(PATIENCE)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()
        .map_err(|error| wrong(&error))?;
    let resource = Resource::builder_empty()
        .with_service_name("evolve")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
