//! A run's islands as its search has them, made again from the database: search is told what is stored, in order.

use program_db::{DbError, ProgramDb, RunId};
use search::{Language, ProgramId, Search};

use super::status::{Best, Island, Islands};
use crate::config::Config;

/// Numbers read at once: a read is short, so that it never holds up the write-ahead log.
const CHUNK: u32 = 1_000;

/// A search that follows a run.
pub(super) struct Follower {
    search: Search,
    language: Language,
    after: Option<ProgramId>,
}

impl Follower {
    /// A search as the run's, told nothing yet. Only asking depends on proposers and models, so it knows none.
    pub(super) fn new(config: &Config, seed: u64) -> Result<Self, search::ConfigError> {
        let language = config.problem.problem.language();
        Ok(Self { search: Search::new(config.search.clone(), language, seed)?, language, after: None })
    }

    /// Tells it what is new.
    pub(super) async fn catch_up(&mut self, db: &ProgramDb, run: RunId) -> Result<(), DbError> {
        loop {
            let told = db.told(run, self.after, CHUNK, self.language).await?;
            let is_last = told.len() < CHUNK as usize;
            for told in told {
                self.after = Some(told.proposal.id);
                self.search.tell_proposal(told.proposal, &told.outcome);
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// The islands as they are now.
    pub(super) fn islands(&self) -> Islands {
        let best = |entry: &search::Entry| Best { number: entry.id, score: entry.score.get() };
        let each = self.search.islands().map(|island| Island {
            index: island.index(),
            told: island.told(),
            since_improvement: island.since_improvement(),
            elites: island.elites().len(),
            best: island.best().map(best),
            active: island.is_active(),
        });
        Islands { each: each.collect(), unknown: None }
    }
}
