//! The service: dashboard, REST and event stream over one database. It reads; what it starts are processes of their own
//! that go on without it.

pub mod api;
mod connection;
pub mod events;
pub mod extract;
pub mod guard;
mod login;
mod metrics;
pub(crate) mod pages;
pub mod problem;
pub mod run_state;
pub mod runner;
mod settings;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use program_db::{FeedPlace, ProgramDb};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use self::guard::Guard;
use self::metrics::Metrics;
use self::problem::Problem;
use self::runner::Runner;
pub use self::settings::{Settings, Token};

/// Nothing that is sent here is large: SQL, a name, a few numbers.
const BODY_LIMIT: usize = 256 << 10;

/// Questions of clients' own (SQL, filters) that are answered at once.
const QUESTIONS: usize = 2;

/// How long open requests may go on after the server was told to stop.
const GRACE: Duration = Duration::from_secs(3);

/// What every handler works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: ProgramDb,
    guard: Guard,
    metrics: Metrics,
    runner: Runner,
    /// The end of what is stored; event streams wait for it to move.
    end: watch::Sender<FeedPlace>,
    /// Turns for questions of clients' own.
    questions: Arc<Semaphore>,
    closing: CancellationToken,
}

impl Service {
    /// A service of this database, which is only read.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new(db: ProgramDb, settings: Settings) -> io::Result<Self> {
        let (guard, metrics) = (Guard::new(&settings)?, Metrics::new());
        let runner = Runner::new(db.clone(), &settings);
        let (end, closing) = (watch::Sender::default(), CancellationToken::new());
        Ok(Self(Arc::new(Inner {
            db,
            guard,
            metrics,
            runner,
            end,
            questions: Arc::new(Semaphore::new(QUESTIONS)),
            closing,
        })))
    }

    /// The database, for reading.
    pub fn db(&self) -> &ProgramDb {
        &self.0.db
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// What starts and pauses runs.
    pub fn runner(&self) -> &Runner {
        &self.0.runner
    }

    /// Cancelled when the server stops: what would wait longer ends then.
    pub fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }
}

/// Every route with its guards.
pub fn router(service: Service) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .merge(login::routes())
        .merge(metrics::routes())
        .merge(api::routes())
        .merge(pages::routes(&service))
        .fallback(async || Problem::not_found("there is nothing at this address; / is the start"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(axum::middleware::from_fn_with_state(service.clone(), guard::watch))
        .layer(axum::middleware::from_fn_with_state(service.clone(), metrics::count))
        .with_state(service)
}

/// Answers requests until `shutdown` is done and open ones have ended, or a few seconds more.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let closing = service.closing().clone();
    tokio::spawn(events::look(service.clone()));
    let listener = connection::Watched::new(listener);
    let server = axum::serve(listener, router(service))
        .with_graceful_shutdown(closing.clone().cancelled_owned())
        .into_future();
    let ended = async {
        shutdown.await;
        closing.cancel();
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server => result,
        () = ended => Ok(()),
    }
}
