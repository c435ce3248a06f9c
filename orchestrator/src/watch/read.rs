//! Reads a run from the database.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use program_db::view::{Listed, Listing};
use program_db::{DbError, ProgramDb, Run, RunId, Session};
use search::{Outcome, Score};

use super::islands::Follower;
use super::status::{Activity, Best, Budgets, Device, Islands, Status, Step};
use crate::cli::Overrides;
use crate::commands::alarm;
use crate::config::Config;
use crate::report::trace::{Promotion, Trace};

/// Points of the chart: more than a terminal has columns.
const BUCKETS: u32 = 400;
/// Proposals that can be scrolled through.
const RECENT: u32 = 300;
/// Evaluations whose reference trials are looked at.
const TRACED: u32 = 120;

/// Reads one run again and again.
pub struct Reader {
    db: ProgramDb,
    run: Run,
    budgets: Budgets,
    follower: Result<Follower, String>,
}

impl Reader {
    /// For a run. A configuration that can't be read any more (its problem is gone, say) leaves budgets and islands unknown.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`].
    pub async fn new(db: ProgramDb, run: RunId) -> Result<Self, DbError> {
        let run = db.run(run).await?;
        let overrides = Overrides { offline: true, ..Overrides::default() };
        let config = Config::from_stored(Path::new(&run.config_path), &run.config, &overrides);
        let unknown = |error: &dyn std::fmt::Display| format!("its configuration can't be read: {error}");
        let (budgets, follower) = match config {
            Ok(config) => {
                let follower = Follower::new(&config, run.seed).map_err(|error| unknown(&error));
                (budgets(&config), follower)
            }
            Err(error) => {
                let why = unknown(&error);
                (Budgets { unknown: Some(why.clone()), ..Budgets::default() }, Err(why))
            }
        };
        Ok(Self { db, run, budgets, follower })
    }

    /// Whether somebody works on the run now.
    ///
    /// # Errors
    /// If database or lock can't be read.
    pub async fn activity(&self) -> Result<Activity, DbError> {
        let holder = self.db.run_holder(self.run.id)?;
        let last = self.db.sessions(self.run.id).await?.into_iter().next_back();
        Ok(match (holder, last) {
            (Some(holder), Some(Session { pid, ended_at: None, started_at, .. }))
                if holder.pid == Some(pid) =>
            {
                Activity::Running { pid, since: started_at }
            }
            (Some(holder), _) => Activity::Held { pid: holder.pid },
            (None, Some(Session { ended_at: Some(at), reason, .. })) => {
                Activity::Ended { at, reason: reason.unwrap_or_default() }
            }
            (None, Some(_)) => Activity::Killed,
            (None, None) => Activity::Untouched,
        })
    }

    /// The run as it is now.
    ///
    /// # Errors
    /// If the database can't be read.
    pub async fn read(&mut self) -> Result<Status, DbError> {
        let (db, run) = (&self.db, self.run.id);
        let summary = db.summary(run).await?;
        let series = db.series(run, BUCKETS).await?;
        let steps = db.steps(run).await?;
        let recent = db.listing(run, &Listing { limit: RECENT, ..Listing::default() }).await?;
        let islands = match &mut self.follower {
            Ok(follower) => {
                follower.catch_up(db, run).await?;
                follower.islands()
            }
            Err(why) => Islands { each: Vec::new(), unknown: Some(why.clone()) },
        };
        let best = |(number, score): (_, Score)| Best { number, score: score.get() };
        Ok(Status {
            at: now(),
            run,
            title: self.run.title.clone(),
            seed: self.run.seed,
            database: db.path().display().to_string(),
            activity: self.activity().await?,
            proposals: summary.proposals,
            evaluated: summary.evaluations,
            pending: summary.pending,
            seconds: summary.duration.as_secs_f64(),
            last_proposal: recent.iter().find(|row| row.number.0 > 0).map(|row| row.created_at),
            budgets: self.budgets.clone(),
            best: summary.best.map(best),
            champion: summary.incumbent.map(best),
            initial: summary.initial.map(Score::get),
            tokens_in: summary.tokens_in,
            tokens_out: summary.tokens_out,
            cost: summary.cost,
            steps: steps.iter().map(step).collect(),
            last: series.last.map_or(0, |last| last.0),
            scores: series.buckets,
            islands,
            device: device(db, run, &recent, &steps).await?,
            recent,
            endings: db.endings(run).await?,
            makers: db.makers(run, &steps).await?,
            alarm: alarm::words(&db.sandboxes(Some(run)).await?),
        })
    }
}

fn budgets(config: &Config) -> Budgets {
    let llm = config.llm.as_ref();
    Budgets {
        iterations: Some(config.max_iterations),
        wall_seconds: config.max_wall_seconds,
        target_score: config.target_score,
        cost: llm.and_then(|llm| llm.max_cost),
        currency: llm.map(|llm| llm.currency.clone()).unwrap_or_default(),
        tokens: llm.and_then(|llm| llm.max_total_tokens),
        unknown: None,
    }
}

fn step(step: &program_db::view::Step) -> Step {
    let measured = step.outcome.as_ref().and_then(Outcome::measured);
    Step { number: step.number, score: step.score, interval: measured.and_then(interval) }
}

/// 95 % interval of a score, where the evaluator tells the standard error of its logarithm.
fn interval(measured: &search::Measured) -> Option<(f64, f64)> {
    let (score, error) = (measured.score.get(), measured.score_error?);
    let factor = (1.96 * error).exp();
    (score > 0.0 && factor.is_finite()).then_some((score / factor, score * factor))
}

/// From the last evaluation among these, and the reference's trials.
async fn device(
    db: &ProgramDb,
    run: RunId,
    recent: &[Listed],
    steps: &[program_db::view::Step],
) -> Result<Option<Device>, DbError> {
    let mut found = None;
    for row in recent.iter().filter(|row| row.kind.is_some()) {
        if let Some(evaluation) = db.evaluation(run, row.number).await? {
            found = Some((row.number, evaluation.measured_by));
            break;
        }
    }
    let Some((number, by)) = found else { return Ok(None) };
    let trials = db.trials(run, number).await?;
    let last = trials.last().cloned().unwrap_or_default();
    let trace = db.device_trace(run, TRACED, steps).await?;
    let speeds = trace.trials.iter().filter_map(|trial| trial.tokens_per_second).collect();
    let promotion = |(at, number): (i64, search::ProgramId)| Promotion { at, number: number.0 };
    let steadiness = if trace.trials.is_empty() {
        Vec::new()
    } else {
        let promotions = trace.promotions.into_iter().map(promotion).collect();
        Trace { trials: trace.trials, promotions }.words().lines().map(str::to_owned).collect()
    };
    let mlx = by.backend.zip(by.mlx).map(|(backend, version)| format!("MLX {version} ({backend})"));
    Ok(Some(Device {
        name: by.device,
        mlx,
        protocol: by.protocol,
        sandbox: by.sandbox,
        measured_at: trials.last().map(|trial| trial.started_at),
        load: last.load,
        temperature: last.temperature,
        frequency: last.frequency,
        on_battery: last.on_battery,
        speeds,
        steadiness,
    }))
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
