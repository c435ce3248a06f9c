//! What a run's pages have in common, read at once and kept for a moment.
//!
//! Over 100 000 programs it takes a few tenths of a second to read. So that many readers of a running search cost it nothing, it is read
//! again only when something was stored since, and so seldom that it takes a hundredth of the time.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use evaluator::Problem;
use program_db::view::{FailureKind, Maker, Series, Step};
use program_db::{DbError, FeedPlace, ProgramDb, Run, RunId, Summary};
use search::{Language, Outcome, SearchConfig};

use crate::cli::Overrides;
use crate::commands::alarm;
use crate::config::Config;
use crate::plot::Point;

/// Buckets of a score series: about as many as a drawing has room for.
const BUCKETS: u32 = 480;

/// Share of the time that reading may take.
const SHARE: u32 = 60;

/// Runs whose facts are kept.
const KEPT: usize = 64;

/// A run at a glance.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) run: Run,
    pub(crate) summary: Summary,
    pub(crate) series: Series,
    pub(crate) steps: Vec<Step>,
    pub(crate) endings: Vec<FailureKind>,
    pub(crate) makers: Vec<Maker>,
    /// How results were measured without the full sandbox, if any were.
    pub(crate) alarm: Option<String>,
    pub(crate) settings: Arc<Settled>,
}

/// What a run's configuration says, as far as pages need it.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) language: Language,
    /// Why the rest isn't known: the configuration, or the problem's folder, can't be read any more.
    pub(crate) trouble: Option<String>,
    pub(crate) search: Option<SearchConfig>,
    pub(crate) max_iterations: Option<u64>,
    /// Weights of the objectives in the score.
    weights: BTreeMap<String, f64>,
}

impl Settled {
    pub(crate) fn of(run: &Run, source: &str) -> Self {
        // Nothing is asked, so no key is needed.
        let overrides = Overrides { offline: true, ..Overrides::default() };
        match Config::from_stored(Path::new(&run.config_path), &run.config, &overrides) {
            Ok(config) => Self {
                language: config.problem.problem.language(),
                trouble: None,
                max_iterations: Some(config.max_iterations),
                weights: match &config.problem.problem {
                    Problem::Kernel(problem) => {
                        let weight = |it: &evaluator::problem::Objective| (it.metric.to_string(), it.weight);
                        problem.objectives.iter().map(weight).collect()
                    }
                    Problem::Command(_) => BTreeMap::new(),
                },
                search: Some(config.search),
            },
            Err(error) => Self {
                language: guessed(source),
                trouble: Some(error.to_string()),
                search: None,
                max_iterations: None,
                weights: BTreeMap::new(),
            },
        }
    }

    /// A score's 95 % interval: by its standard error where the evaluator gave one, else by the intervals of the effects that it is the
    /// weighted sum of (in logarithms, as if they were independent).
    pub(crate) fn interval(&self, outcome: &Outcome) -> Option<(f64, f64)> {
        let measured = outcome.measured()?;
        let score = measured.score.get();
        let half = match measured.score_error.filter(|error| *error > 0.0) {
            Some(error) => 1.96 * error,
            None => {
                let half = |(low, high): (f64, f64)| (high.ln_1p() - low.ln_1p()) / 2.0;
                let mut squares = 0.0;
                for effect in &measured.effects {
                    squares += (self.weights.get(&effect.metric)? * half(effect.interval?)).powi(2);
                }
                squares.sqrt()
            }
        };
        (half > 0.0 && half.is_finite() && score > 0.0).then(|| (score * (-half).exp(), score * half.exp()))
    }
}

/// What a source looks like.
fn guessed(source: &str) -> Language {
    let marker = source.lines().find(|line| line.contains("EVOLVE-BLOCK-START")).unwrap_or_default();
    match marker.trim_start() {
        line if line.starts_with('#') => Language::Python,
        line if line.starts_with("//") && source.contains("fn ") => Language::Rust,
        _ => Language::Other,
    }
}

impl Facts {
    /// Reads them.
    ///
    /// # Errors
    /// There is no such run, or the database can't be read.
    pub(crate) async fn read(
        db: &ProgramDb,
        id: RunId,
        settings: Option<Arc<Settled>>,
    ) -> Result<Self, DbError> {
        let run = db.run(id).await?;
        let settings = match settings {
            Some(settings) => settings,
            None => {
                let source = db.program(id, search::ProgramId::INITIAL).await?.source;
                Arc::new(Settled::of(&run, &source))
            }
        };
        let makers = async {
            let steps = db.steps(id).await?;
            let makers = db.makers(id, &steps).await?;
            Ok::<_, DbError>((steps, makers))
        };
        let (summary, series, (steps, makers), endings, sandboxes) = tokio::try_join!(
            db.summary(id),
            db.series(id, BUCKETS),
            makers,
            db.endings(id),
            db.sandboxes(Some(id))
        )?;
        let alarm = alarm::words(&sandboxes);
        Ok(Self { run, summary, series, steps, endings, makers, alarm, settings })
    }

    /// The steps of the best, as they are drawn.
    pub(crate) fn points(&self) -> Vec<Point> {
        let point = |step: &Step| Point {
            number: step.number.0,
            score: step.score,
            interval: step.outcome.as_ref().and_then(|outcome| self.settings.interval(outcome)),
            words: format!("{} by {}", step.operator, step.by()),
        };
        self.steps.iter().map(point).collect()
    }

    /// The best program that is claimed to be better than the initial one, else that with the highest score.
    pub(crate) fn champion(&self) -> Option<(search::ProgramId, search::Score)> {
        self.summary.incumbent.or(self.summary.best)
    }
}

/// Facts of some runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct FactsStore(Arc<Mutex<HashMap<RunId, Kept>>>);

/// A run's facts, and whether something was stored since they were read.
#[derive(Debug)]
pub(crate) struct Seen {
    facts: Arc<Facts>,
    pub(crate) is_old: bool,
}

impl std::ops::Deref for Seen {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

#[derive(Debug, Clone)]
struct Kept {
    facts: Arc<Facts>,
    stamp: FeedPlace,
    read_at: Instant,
    took: Duration,
    is_refreshing: bool,
}

impl FactsStore {
    /// Begins to read the latest run's facts, so that the first who looks needn't wait.
    pub(super) fn warm(&self, db: &ProgramDb) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (store, db) = (self.clone(), db.clone());
        runtime.spawn(async move {
            // What goes wrong here goes wrong again when somebody looks, and is said then.
            if let Ok(run) = db.latest_run().await {
                store.get(&db, run.id).await.ok();
            }
        });
    }

    /// A run's facts, a moment old at most; older while that would cost the run something.
    pub(crate) async fn get(&self, db: &ProgramDb, run: RunId) -> Result<Seen, DbError> {
        let kept = self.lock().get(&run).cloned();
        let Some(kept) = kept else { return self.refresh(db, run, None).await };
        let is_old = db.feed_end().await? != kept.stamp;
        if !is_old || kept.read_at.elapsed() < kept.took * SHARE {
            return Ok(Seen { facts: kept.facts, is_old });
        }
        let settings = Some(kept.facts.settings.clone());
        if kept.took < Duration::from_millis(40) {
            return self.refresh(db, run, settings).await;
        }
        // Nobody waits for what takes long: this page shows what was, and the next one what is.
        if !kept.is_refreshing {
            self.mark(run, true);
            let (store, db) = (self.clone(), db.clone());
            tokio::spawn(async move {
                if let Err(error) = store.refresh(&db, run, settings).await {
                    tracing::warn!(%error, run, "a run's facts can't be read again");
                    store.mark(run, false);
                }
            });
        }
        Ok(Seen { facts: kept.facts, is_old })
    }

    async fn refresh(
        &self,
        db: &ProgramDb,
        run: RunId,
        settings: Option<Arc<Settled>>,
    ) -> Result<Seen, DbError> {
        // Before: what is stored while it is read makes it old at once, and not too new.
        let stamp = db.feed_end().await?;
        let begin = Instant::now();
        let facts = Arc::new(Facts::read(db, run, settings).await?);
        let took = begin.elapsed();
        let kept = Kept { facts: facts.clone(), stamp, read_at: Instant::now(), took, is_refreshing: false };
        let mut all = self.lock();
        if all.len() >= KEPT && !all.contains_key(&run) {
            let oldest = all.iter().min_by_key(|(_, kept)| kept.read_at).map(|(run, _)| *run);
            oldest.and_then(|oldest| all.remove(&oldest));
        }
        all.insert(run, kept);
        Ok(Seen { facts, is_old: false })
    }

    fn mark(&self, run: RunId, is_refreshing: bool) {
        if let Some(kept) = self.lock().get_mut(&run) {
            kept.is_refreshing = is_refreshing;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
