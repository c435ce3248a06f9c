//! A run's islands as its search sees them: told again here what the search was told, from the database, a little behind it.
//!
//! It follows from the outcomes alone (`search` is pure), so nothing has to be asked of the process that runs. Telling 100 000 programs
//! takes some seconds; that happens in the background, once, and afterwards only what is new.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use program_db::{ProgramDb, RunId};
use search::{ProgramId, Search, SearchConfig};

use super::facts::Facts;
use crate::plot::{Cell, Grid};

/// Numbers told at once.
const CHUNK: u32 = 400;
/// How long a page waits for the grid to be up to date.
const PATIENCE: Duration = Duration::from_millis(80);
/// Runs that are followed at once; those looked at least recently are forgotten.
const KEPT: usize = 4;
/// After a look, how long it isn't looked whether there is more.
const PAUSE: Duration = Duration::from_secs(1);

/// An island, as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Island {
    pub(crate) index: usize,
    pub(crate) told: u64,
    pub(crate) since_improvement: u64,
    pub(crate) is_active: bool,
    pub(crate) population: usize,
    pub(crate) members: usize,
    pub(crate) best: Option<(u64, f64)>,
    cells: Vec<Occupied>,
}

#[derive(Debug, Clone)]
struct Occupied {
    bins: Vec<Option<usize>>,
    number: u64,
    score: f64,
}

/// All islands at one time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Archipelago {
    /// Numbers told.
    pub(crate) told: u64,
    /// The feature dimensions and how many bins each has.
    pub(crate) axes: Vec<(String, usize)>,
    pub(crate) islands: Vec<Island>,
    best: Option<u64>,
}

impl Archipelago {
    fn of(search: &Search, config: &SearchConfig, told: u64) -> Self {
        let island = |view: search::IslandView<'_>| Island {
            index: view.index(),
            told: view.told(),
            since_improvement: view.since_improvement(),
            is_active: view.is_active(),
            population: view.population().len(),
            members: view.members().len(),
            best: view.best().map(|entry| (entry.id.0, entry.score.get())),
            cells: view
                .cells()
                .map(|cell| Occupied {
                    bins: cell.bins,
                    number: cell.elite.id.0,
                    score: cell.elite.score.get(),
                })
                .collect(),
        };
        let bins = |name: &str| config.feature_bins.along(name);
        Self {
            told,
            axes: config.feature_dimensions.iter().map(|name| (name.clone(), bins(name))).collect(),
            islands: search.islands().map(island).collect(),
            best: search.best().map(|entry| entry.id.0),
        }
    }

    /// The lowest and the highest score of all elites.
    pub(crate) fn scores(&self) -> (f64, f64) {
        let all = self.islands.iter().flat_map(|island| &island.cells).map(|cell| cell.score);
        all.fold(None, |range: Option<(f64, f64)>, score| {
            let (low, high) = range.unwrap_or((score, score));
            Some((low.min(score), high.max(score)))
        })
        .unwrap_or((0.0, 1.0))
    }

    /// An island's grid over two of the axes; of cells that differ in others only the best is shown.
    pub(crate) fn grid(&self, island: &Island, (across, up): (usize, usize)) -> Grid {
        let axis = |index: usize| self.axes.get(index).cloned();
        let first = axis(across).unwrap_or_default();
        let second = axis(up).filter(|_| up != across);
        let mut best: HashMap<(Option<usize>, Option<usize>), &Occupied> = HashMap::new();
        for cell in &island.cells {
            let bin = |index: usize| cell.bins.get(index).copied().flatten();
            let place = (bin(across), if second.is_some() { bin(up) } else { None });
            let shown = best.entry(place).or_insert(cell);
            if cell.score > shown.score {
                *shown = cell;
            }
        }
        let mut cells: Vec<Cell> = best
            .into_iter()
            .map(|(bins, cell)| Cell {
                bins,
                number: cell.number,
                score: cell.score,
                is_best: self.best == Some(cell.number),
            })
            .collect();
        cells.sort_by_key(|cell| cell.bins);
        Grid {
            title: format!("Grid of island {}", island.index),
            bins: (first.1.max(1), second.as_ref().map_or(1, |axis| axis.1)),
            axes: (first.0, second.map(|axis| axis.0)),
            cells,
            scores: self.scores(),
        }
    }
}

/// How far the islands of a run are known.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// As far as this.
    To(Arc<Archipelago>),
    /// The outcomes are still being told: so many of so many.
    Working { told: u64, of: u64 },
    /// They can't be known, for this reason.
    Not(String),
}

/// The followed runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grids(Arc<Mutex<HashMap<RunId, Arc<Follower>>>>);

#[derive(Debug)]
struct Follower {
    state: tokio::sync::Mutex<State>,
    shown: Mutex<Shown>,
}

#[derive(Debug)]
struct State {
    search: Search,
    config: SearchConfig,
    last: Option<ProgramId>,
    told: u64,
}

#[derive(Debug)]
struct Shown {
    islands: Option<Arc<Archipelago>>,
    told: u64,
    looked: Option<Instant>,
    used: Instant,
    trouble: Option<String>,
}

impl Grids {
    /// A run's islands, as far as they are known after a short wait.
    pub(crate) async fn get(&self, db: &ProgramDb, facts: &Facts) -> Known {
        let follower = match self.follower(facts) {
            Ok(follower) => follower,
            Err(reason) => return Known::Not(reason),
        };
        let is_due = lock(&follower.shown).looked.is_none_or(|looked| looked.elapsed() > PAUSE);
        if is_due && follower.state.try_lock().is_ok() {
            let (follower, db) = (follower.clone(), db.clone());
            let (run, language) = (facts.run.id, facts.settings.language);
            let work = tokio::spawn(async move { follower.advance(&db, run, language).await });
            // It goes on if it takes longer than this page waits.
            let _ = tokio::time::timeout(PATIENCE, work).await;
        }
        let shown = lock(&follower.shown);
        match (&shown.islands, &shown.trouble) {
            (Some(islands), _) => Known::To(islands.clone()),
            (None, Some(trouble)) => Known::Not(trouble.clone()),
            (None, None) => {
                Known::Working { told: shown.told, of: facts.series.last.map_or(0, |last| last.0 + 1) }
            }
        }
    }

    fn follower(&self, facts: &Facts) -> Result<Arc<Follower>, String> {
        let mut all = lock(&self.0);
        if let Some(follower) = all.get(&facts.run.id) {
            lock(&follower.shown).used = Instant::now();
            return Ok(follower.clone());
        }
        let Some(config) = facts.settings.search.clone() else {
            let trouble = facts.settings.trouble.as_deref().unwrap_or_default();
            return Err(format!("the run's configuration can't be read any more: {trouble}"));
        };
        let search = Search::new(config.clone(), facts.settings.language, facts.run.seed)
            .map_err(|error| error.to_string())?;
        if all.len() >= KEPT {
            let oldest =
                all.iter().min_by_key(|(_, follower)| lock(&follower.shown).used).map(|(run, _)| *run);
            oldest.and_then(|oldest| all.remove(&oldest));
        }
        let shown = Shown { islands: None, told: 0, looked: None, used: Instant::now(), trouble: None };
        let state = State { search, config, last: None, told: 0 };
        let follower = Arc::new(Follower { state: tokio::sync::Mutex::new(state), shown: Mutex::new(shown) });
        all.insert(facts.run.id, follower.clone());
        Ok(follower)
    }
}

impl Follower {
    /// Tells what is new.
    async fn advance(&self, db: &ProgramDb, run: RunId, language: search::Language) {
        let Ok(mut state) = self.state.try_lock() else { return };
        let before = state.told;
        loop {
            let chunk = match db.told(run, state.last, CHUNK, language).await {
                Ok(chunk) => chunk,
                Err(error) => {
                    tracing::warn!(%error, run, "a run's outcomes can't be read");
                    lock(&self.shown).trouble = Some(error.to_string());
                    return;
                }
            };
            let is_last = chunk.len() < CHUNK as usize;
            for told in chunk {
                state.last = Some(told.proposal.id);
                state.told += 1;
                state.search.tell_proposal(told.proposal, &told.outcome);
            }
            lock(&self.shown).told = state.told;
            if is_last {
                break;
            }
            tokio::task::yield_now().await;
        }
        let islands = (state.told > before || before == 0)
            .then(|| Arc::new(Archipelago::of(&state.search, &state.config, state.told)));
        let mut shown = lock(&self.shown);
        shown.looked = Some(Instant::now());
        if let Some(islands) = islands {
            shown.islands = Some(islands);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
