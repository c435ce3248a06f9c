//! Starting, resuming and pausing runs.
//!
//! A run that is started here is a process of its own, in a process group of its own, that works as one started in a terminal does:
//! with the same configuration file, the same locks and the same sandbox. It goes on when the server ends. What may be started is
//! what lies in the folders that the server was given, and nothing that a request says is ever run.

mod child;
mod configs;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use program_db::{DbError, ProgramDb, RunId, SessionId};
use serde::Deserialize;
use utoipa::ToSchema;

pub use program_db::Wish;

pub use self::child::{Start, StartState};
pub use self::configs::{Configs, FoundConfig};
use super::problem::Problem;
use super::settings::Settings;
use crate::config::openevolve;
use crate::pause::{Pause, PauseError, pause};

/// How long a request waits for a run that it started. Evaluators of kernel problems take longer to set up; then the answer says that
/// it is still starting.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts that are remembered, those that have ended included.
const REMEMBERED: usize = 200;

/// What a run may use, counted from its beginning. Absent: what its configuration says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// Proposals in all (`max_iterations`).
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub iterations: Option<u64>,
    /// Seconds of this session (`max_wall_seconds`).
    #[schema(exclusive_minimum = 0, maximum = 1_000_000_000)]
    pub max_wall_seconds: Option<f64>,
    /// Most to spend on language models, over all sessions (`llm.max_cost`).
    #[schema(exclusive_minimum = 0, maximum = 1_000_000_000)]
    pub max_cost: Option<f64>,
    /// Most tokens to take, over all sessions (`llm.max_total_tokens`).
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64)]
    pub max_total_tokens: Option<u64>,
    /// Stop at this score (`target_score`).
    pub target_score: Option<f64>,
}

impl Budgets {
    /// Whether they are numbers that make sense; evolve itself says the rest.
    fn check(&self) -> Result<(), Problem> {
        const MOST: u64 = 1_000_000_000;
        const MOST_TOKENS: u64 = MOST * 1000;
        let above = |value: Option<f64>| value.is_some_and(|value| !(value > 0.0 && value <= MOST as f64));
        let wrong = if self.iterations.is_some_and(|iterations| iterations > MOST) {
            "iterations: at most 1000000000"
        } else if above(self.max_wall_seconds) || above(self.max_cost) {
            "max_wall_seconds and max_cost: above 0 and at most 1000000000"
        } else if self.max_total_tokens.is_some_and(|tokens| tokens == 0 || tokens > MOST_TOKENS) {
            "max_total_tokens: from 1 to 1000000000000"
        } else {
            return Ok(());
        };
        Err(Problem::bad_request(wrong))
    }

    fn arguments(&self) -> Vec<String> {
        let number = |flag: &str, value: Option<u64>| value.map(|value| format!("--{flag}={value}"));
        let real = |flag: &str, value: Option<f64>| value.map(|value| format!("--{flag}={value}"));
        [
            number("iterations", self.iterations),
            real("max-wall-seconds", self.max_wall_seconds),
            real("max-cost", self.max_cost),
            number("max-total-tokens", self.max_total_tokens),
            real("target-score", self.target_score),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// What starts and pauses runs.
#[derive(Debug)]
pub struct Runner {
    db: ProgramDb,
    program: PathBuf,
    configs: Configs,
    most: usize,
    /// One at a time, so that the count of [`Runner::most`] holds.
    starting: tokio::sync::Mutex<()>,
    starts: Mutex<Vec<Arc<Start>>>,
    /// One at a time, so that nobody is asked twice: to `evolve` the second time means at once.
    asking: tokio::sync::Mutex<()>,
}

impl Runner {
    pub(super) fn new(db: ProgramDb, settings: &Settings) -> Self {
        Self {
            db,
            program: settings.program.clone(),
            configs: Configs::new(settings.configs.clone()),
            most: settings.max_runs,
            starting: tokio::sync::Mutex::default(),
            starts: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// What may be started.
    pub fn configs(&self) -> &Configs {
        &self.configs
    }

    /// What was started from here, oldest first.
    pub fn starts(&self) -> Vec<Arc<Start>> {
        lock(&self.starts).clone()
    }

    /// Starts a run of an allowed configuration and waits a while for it to be there.
    ///
    /// # Errors
    /// It isn't allowed, too many are under way, or `evolve run` refuses: then in its words.
    pub async fn start(
        &self,
        config: &str,
        seed: Option<u64>,
        budgets: &Budgets,
    ) -> Result<Arc<Start>, Problem> {
        let path = self.configs.find(config)?;
        let mut arguments = vec!["run".into(), "--config".into(), path.clone().into_os_string()];
        arguments.extend(seed.map(|seed| format!("--seed={seed}").into()));
        self.launch(arguments, path.display().to_string(), None, budgets).await
    }

    /// Goes on with a run, perhaps with other budgets, and waits a while for it to work.
    ///
    /// # Errors
    /// Its configuration isn't in an allowed folder, somebody works on it, too many are under way, or `evolve resume` refuses.
    pub async fn resume(&self, run: RunId, budgets: &Budgets) -> Result<Arc<Start>, Problem> {
        let stored = self.db.run(run).await?;
        for path in code_of(Path::new(&stored.config_path), &stored.config)? {
            self.configs.check(&path)?;
        }
        if let Some(holder) = self.db.run_holder(run)? {
            let who = holder.pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
            return Err(Problem::conflict(format!(
                "{who} works on run {run} already; pause it first to change budgets"
            )));
        }
        let arguments = vec!["resume".into(), run.to_string().into()];
        self.launch(arguments, stored.config_path, Some(run), budgets).await
    }

    /// Asks the process that works on a run to stop cleanly; its id. Nothing is lost.
    ///
    /// # Errors
    /// Nobody works on it, or the one who does can't be asked.
    pub async fn stop(&self, run: RunId, wish: Wish) -> Result<u32, Problem> {
        let _one = self.asking.lock().await;
        let holder = self.db.run_holder(run)?.and_then(|holder| holder.pid);
        let last = self.db.sessions(run).await?.into_iter().next_back();
        let last = last.filter(|last| last.ended_at.is_none() && Some(last.pid) == holder);
        let before = match &last {
            Some(last) => self.db.wish(last.id).await?,
            None => None,
        };
        let pid = match (&last, before) {
            (Some(last), Some(_)) => last.pid,
            _ => match pause(&self.db, run).await? {
                Pause::Asked { pid } => pid,
                other => return Err(Problem::conflict(other.words(run))),
            },
        };
        if let Some(last) = last
            && before != Some(wish)
            && let Err(error) = self.note(last.id, wish).await
        {
            tracing::warn!(%error, run, "that the run was asked to stop can't be noted");
        }
        Ok(pid)
    }

    /// The database is open for reading only, so that nothing else of the service can write.
    async fn note(&self, session: SessionId, wish: Wish) -> Result<(), DbError> {
        let db = ProgramDb::open(self.db.path()).await?;
        let result = db.store_wish(session, wish).await;
        db.close().await;
        result
    }

    async fn launch(
        &self,
        mut arguments: Vec<std::ffi::OsString>,
        config: String,
        run: Option<RunId>,
        budgets: &Budgets,
    ) -> Result<Arc<Start>, Problem> {
        budgets.check()?;
        arguments.extend(budgets.arguments().into_iter().map(Into::into));
        arguments.extend(["--db".into(), self.db.path().as_os_str().to_owned()]);
        let start = {
            let _one = self.starting.lock().await;
            let under_way = self.starts().iter().filter(|start| start.is_under_way()).count();
            if under_way >= self.most {
                return Err(Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    format!(
                        "{under_way} runs started from here are under way, and --max-runs allows no more; wait for one, or pause one"
                    ),
                ));
            }
            let start = child::spawn(&self.program, &arguments, config, run, &self.db).map_err(|error| {
                tracing::error!(%error, "a run can't be started");
                Problem::internal()
            })?;
            self.remember(start.clone());
            start
        };
        start.settled(PATIENCE).await;
        match start.state() {
            StartState::Ended { code, run: None } => Err(refused(code, &start.last_words())),
            _ => Ok(start),
        }
    }

    fn remember(&self, start: Arc<Start>) {
        let mut starts = lock(&self.starts);
        starts.push(start);
        while starts.len() > REMEMBERED
            && let Some(index) = starts.iter().position(|start| !start.is_under_way())
        {
            starts.remove(index);
        }
    }
}

/// The files by which a stored run decides what code is run.
fn code_of(config: &Path, text: &str) -> Result<Vec<PathBuf>, Problem> {
    let Some(call) =
        openevolve::stored_call(config, text).map_err(|error| Problem::conflict(error.to_string()))?
    else {
        return Ok(vec![config.to_owned()]);
    };
    // What such a call let its evaluator do was the user's word in a terminal; it isn't given again from here.
    if call.network || !call.read.is_empty() || !call.environment.is_empty() || call.python.is_some() {
        return Err(Problem::forbidden(
            "this run's evaluator was given more than the sandbox gives (network, files, variables or an interpreter of its \
             own); go on with it in a terminal",
        ));
    }
    Ok([Some(call.initial_program), call.evaluator].into_iter().flatten().collect())
}

/// `evolve` ended before it came to a run: its exit code says whose fault that is.
fn refused(code: Option<i32>, words: &str) -> Problem {
    let words = if words.is_empty() { "it ended without a word" } else { words };
    match code {
        Some(2) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, words),
        _ => Problem::conflict(words),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<PauseError> for Problem {
    fn from(error: PauseError) -> Self {
        match error {
            PauseError::Db(error) => error.into(),
            error @ PauseError::Signal { .. } => Self::forbidden(error.to_string()),
        }
    }
}
