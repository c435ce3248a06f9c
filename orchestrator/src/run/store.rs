//! A run's rows: what the loop stores, and what earlier sessions have stored.

use std::sync::Arc;
use std::time::Duration;

use evaluator::{EvaluationReport, Opponent};
use program_db::{DbError, LessonAttempt, Program, ProgramDb, Record, Replay, RunId, Stored};
use search::{Language, Outcome, ProgramId};

use super::Proposed;
use super::exhibits::{Exhibits, shown};
use super::lessons::Order;
use super::measurement::new_comparison;
use crate::commands::storage;
use crate::exit_code::Failure;
use crate::prompt::Material;
use crate::proposer::{Exhibit, Failure as FailedChild, ProblemText};

/// One run in the database.
pub struct Store {
    db: ProgramDb,
    run: RunId,
    /// What earlier sessions stored, in order of numbers; `None` after the last.
    replay: Replay,
    next: Option<Stored>,
    exhibits: Exhibits,
}

impl Store {
    /// The rows of `run`.
    pub async fn open(db: ProgramDb, run: RunId) -> Result<Self, Failure> {
        let mut replay = db.replay(run).await.map_err(storage)?;
        let next = replay.next().await.map_err(storage)?;
        Ok(Self { db, run, replay, next, exhibits: Exhibits::default() })
    }

    /// The run's id.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// What an earlier session stored of this number. Numbers must be asked for in ascending order.
    pub(super) async fn prior(
        &mut self,
        number: u64,
        language: Language,
    ) -> Result<Option<Proposed>, Failure> {
        let Some(stored) = self.next.take_if(|stored| stored.number.0 == number) else {
            return Ok(None);
        };
        self.next = self.replay.next().await.map_err(storage)?;
        let told = stored.to_proposal(language);
        let source = stored.program.and_then(|program| program.source);
        Ok(Some(Proposed { told, source, replayed: stored.outcome.is_some(), outcome: stored.outcome }))
    }

    /// Stores all of these in one transaction. If one of them can't be stored, the others still are, each by itself: it may
    /// have been paid for.
    pub(super) async fn records(&self, records: &[Record]) -> Result<(), Failure> {
        let stored = patiently(async || self.db.store(self.run, records).await).await;
        if let Err(error) = &stored
            && !matches!(error, DbError::DiskFull { .. })
            && records.len() > 1
        {
            for record in records {
                if let Err(error) = self.db.store(self.run, std::slice::from_ref(record)).await {
                    tracing::warn!("{error}");
                }
            }
        }
        stored.map_err(storage)
    }

    /// Keeps a stored program in memory, for prompts.
    pub(super) fn remember(&mut self, exhibit: Exhibit) {
        self.exhibits.keep(exhibit);
    }

    /// The best program that is claimed to be better than the initial one, if any is.
    pub(super) async fn champion(&self) -> Result<Option<Program>, Failure> {
        self.db.incumbent(self.run).await.map_err(storage)
    }

    /// Whom a program was compared with.
    pub(super) async fn opponents_met(&self, number: ProgramId) -> Result<Vec<String>, Failure> {
        let comparisons = self.db.comparisons(self.run, number).await.map_err(storage)?;
        Ok(comparisons.into_iter().map(|comparison| comparison.opponent).collect())
    }

    /// A comparison of a program with an opponent.
    pub(super) async fn comparison(
        &self,
        number: ProgramId,
        opponent: Opponent,
        report: &EvaluationReport,
    ) -> Result<(), Failure> {
        let row = new_comparison(report);
        patiently(async || self.db.store_comparison(self.run, number, opponent.as_str(), &row).await)
            .await
            .map_err(storage)
    }

    /// All attempts at lessons.
    pub(crate) async fn lessons(&self) -> Result<Vec<LessonAttempt>, Failure> {
        self.db.lessons(self.run).await.map_err(storage)
    }

    /// What lessons are made from.
    pub(super) async fn material(
        &self,
        order: &Order,
        language: Language,
        problem: &Arc<ProblemText>,
    ) -> Result<Material, Failure> {
        order.material(&self.db, self.run, language, problem).await
    }

    /// A proposal that came to nothing and is to be mended, with what its evaluation left.
    pub(super) async fn to_be_mended(&self, id: ProgramId) -> Result<Option<FailedChild>, Failure> {
        let Some(failure) = self.failures(&[id]).await?.pop() else { return Ok(None) };
        let artifacts = self.db.artifacts(self.run, id).await.map_err(storage)?;
        let artifacts = shown(artifacts.into_iter().map(|artifact| (artifact.name, artifact.content)));
        Ok(Some(FailedChild { artifacts, ..failure }))
    }

    /// A program as proposers are shown it.
    pub(super) async fn exhibit(&mut self, id: ProgramId) -> Result<Exhibit, Failure> {
        if let Some(exhibit) = self.exhibits.get(id) {
            return Ok(exhibit);
        }
        let program = self.db.program(self.run, id).await.map_err(storage)?;
        let artifacts = self.db.artifacts(self.run, id).await.map_err(storage)?;
        let artifacts = shown(artifacts.into_iter().map(|artifact| (artifact.name, artifact.content)));
        let exhibit = Exhibit { id, source: program.source.into(), outcome: program.outcome, artifacts };
        self.exhibits.keep(exhibit.clone());
        Ok(exhibit)
    }

    /// Proposals that came to nothing, as proposers are shown them.
    pub(super) async fn failures(&self, ids: &[ProgramId]) -> Result<Vec<FailedChild>, Failure> {
        let mut failures = Vec::new();
        for &id in ids {
            if let Some(Exhibit { source, outcome: Some(outcome), .. }) = self.exhibits.get(id) {
                failures.push(FailedChild::new(id, outcome, Some(source)));
                continue;
            }
            let source = match self.db.program(self.run, id).await {
                Ok(program) => Some(program.source.into()),
                Err(DbError::NoProgram { .. }) => None,
                Err(error) => return Err(storage(error)),
            };
            if let Some(outcome) = self.db.outcome(self.run, id).await.map_err(storage)? {
                let reply = match outcome {
                    Outcome::Patch { .. } => self.db.proposal(self.run, id).await.map_err(storage)?.reply,
                    _ => None,
                };
                failures.push(FailedChild { reply, ..FailedChild::new(id, outcome, source) });
            }
        }
        Ok(failures)
    }
}

/// Tries again for a few seconds while the disk is full: what is to be stored may have been paid for.
async fn patiently(store: impl AsyncFn() -> Result<(), DbError>) -> Result<(), DbError> {
    for seconds in [1, 2, 4] {
        match store().await {
            Err(error @ DbError::DiskFull { .. }) => {
                tracing::warn!("{error}; trying again in {seconds} s");
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            result => return result,
        }
    }
    store().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use program_db::{NewProgram, NewProposal, NewRun};

    fn program(number: u64) -> NewProgram {
        NewProgram { code_hash: format!("{number}"), source: format!("program {number}"), fingerprint: None }
    }

    fn proposal(number: u64) -> Record {
        Record::Proposal(Box::new(NewProposal {
            number: ProgramId(number),
            island: 0,
            parent: ProgramId::INITIAL,
            inspirations: Vec::new(),
            proposer: "llm".to_owned(),
            operator: String::new(),
            model: None,
            prompt: None,
            reply: Some("paid for".to_owned()),
            tokens_in: None,
            tokens_out: None,
            tokens_cached: None,
            tokens_reasoning: None,
            tokens_estimated: false,
            cost: Some(1.0),
            latency: Duration::ZERO,
            requests: 1,
            repairs: None,
            lesson: None,
            left_out: Vec::new(),
            change: Ok(program(number)),
        }))
    }

    async fn opened(folder: &tempfile::TempDir) -> (ProgramDb, Store) {
        let db = ProgramDb::open(folder.path().join("evolve.db")).await.unwrap();
        let run = NewRun {
            title: String::new(),
            problem: "p".to_owned(),
            config: String::new(),
            config_path: String::new(),
            seed: 1,
            lookahead: 1,
            initial: program(0),
        };
        let run = db.create_run(&run).await.unwrap();
        let store = Store::open(db.clone(), run).await.unwrap();
        (db, store)
    }

    #[tokio::test]
    async fn what_was_paid_for_is_stored_even_beside_what_cannot_be() {
        let folder = tempfile::tempdir().unwrap();
        let (db, store) = opened(&folder).await;
        store.records(&[proposal(2)]).await.unwrap();
        let failure = store.records(&[proposal(1), proposal(2), proposal(3)]).await.unwrap_err();
        assert!(failure.message.contains("proposal 2 of run 1 is in the database already"), "{failure:?}");
        let stored = db.replay(1).await.unwrap().collect().await.unwrap();
        assert_eq!(stored.iter().map(|it| it.number.0).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn a_program_is_shown_alike_from_memory_and_from_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let (_, mut store) = opened(&folder).await;
        let outcome = Outcome::Duplicate { of: ProgramId::INITIAL };
        store.records(&[proposal(1), Record::Outcome { number: ProgramId(1), outcome }]).await.unwrap();
        let read = store.exhibit(ProgramId(1)).await.unwrap();
        assert_eq!(store.exhibits.get(ProgramId(1)), Some(read.clone()));
        assert_eq!(store.exhibit(ProgramId(1)).await.unwrap(), read);
        // The initial program has no outcome yet: it may still get one.
        let initial = store.exhibit(ProgramId::INITIAL).await.unwrap();
        assert_eq!((initial.outcome, store.exhibits.get(ProgramId::INITIAL)), (None, None));
    }
}
