//! A run's rows: what the loop stores, and what earlier sessions have stored.

use std::time::Duration;

use evaluator::{EvaluationReport, Opponent};
use program_db::{DbError, NewProgram, NewProposal, Program, ProgramDb, Replay, RunId, Stored};
use search::{Fingerprint, Language, Outcome, ProgramId};

use super::measurement::{new_comparison, new_evaluation};
use super::{Origin, Proposed};
use crate::commands::storage;
use crate::exit_code::Failure;
use crate::proposer::{Exhibit, Failure as FailedChild, Proposal};

/// One run in the database.
pub struct Store {
    db: ProgramDb,
    run: RunId,
    /// What earlier sessions stored, in order of numbers; `None` after the last.
    replay: Replay,
    next: Option<Stored>,
}

impl Store {
    /// The rows of `run`.
    pub async fn open(db: ProgramDb, run: RunId) -> Result<Self, Failure> {
        let mut replay = db.replay(run).await.map_err(storage)?;
        let next = replay.next().await.map_err(storage)?;
        Ok(Self { db, run, replay, next })
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
        let source = stored.program.map(|program| program.source);
        Ok(Some(Proposed { told, source, replayed: stored.outcome.is_some(), outcome: stored.outcome }))
    }

    /// A proposal, with the program or the outcome that it led to.
    pub(super) async fn proposal(
        &self,
        number: u64,
        origin: Origin,
        inspirations: Vec<ProgramId>,
        proposal: &Proposal,
        code: Option<&Fingerprint>,
    ) -> Result<(), Failure> {
        let change = match (&proposal.change, code) {
            (Ok(source), Some(code)) => Ok(NewProgram {
                code_hash: code.hash.to_string(),
                source: source.clone(),
                fingerprint: Some(code.to_bytes()),
            }),
            (Ok(_), None) => unreachable!("a program has a fingerprint"),
            (Err(outcome), _) => Err(outcome.clone()),
        };
        let row = NewProposal {
            number: ProgramId(number),
            island: origin.island,
            parent: origin.parent,
            inspirations,
            proposer: proposal.proposer.to_owned(),
            operator: proposal.operator.clone(),
            model: proposal.model.clone(),
            prompt: proposal.prompt.clone(),
            reply: proposal.reply.clone(),
            tokens_in: proposal.tokens_in,
            tokens_out: proposal.tokens_out,
            cost: proposal.cost,
            latency: proposal.latency,
            requests: proposal.requests,
            change,
        };
        patiently(async || self.db.store_proposal(self.run, &row).await).await
    }

    /// An outcome that needed no evaluation.
    pub(super) async fn outcome(&self, number: u64, outcome: &Outcome) -> Result<(), Failure> {
        patiently(async || self.db.store_outcome(self.run, ProgramId(number), outcome).await).await
    }

    /// An evaluation with its trials, artifacts and outcome.
    pub(super) async fn evaluation(&self, number: u64, report: &EvaluationReport) -> Result<(), Failure> {
        let row = new_evaluation(report);
        patiently(async || self.db.store_evaluation(self.run, ProgramId(number), &row).await).await
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
        patiently(async || self.db.store_comparison(self.run, number, opponent.as_str(), &row).await).await
    }

    /// A program as proposers are shown it.
    pub(super) async fn exhibit(&self, id: ProgramId) -> Result<Exhibit, Failure> {
        let program = self.db.program(self.run, id).await.map_err(storage)?;
        let artifacts = self.db.artifacts(self.run, id).await.map_err(storage)?;
        let artifacts = artifacts.into_iter().map(|artifact| (artifact.name, artifact.content)).collect();
        Ok(Exhibit { id, source: program.source.into(), outcome: program.outcome, artifacts })
    }

    /// Proposals that came to nothing, as proposers are shown them.
    pub(super) async fn failures(&self, ids: &[ProgramId]) -> Result<Vec<FailedChild>, Failure> {
        let mut failures = Vec::new();
        for &id in ids {
            let source = match self.db.program(self.run, id).await {
                Ok(program) => Some(program.source.into()),
                Err(DbError::NoProgram { .. }) => None,
                Err(error) => return Err(storage(error)),
            };
            if let Some(outcome) = self.db.outcome(self.run, id).await.map_err(storage)? {
                failures.push(FailedChild { id, outcome, source });
            }
        }
        Ok(failures)
    }
}

/// Tries again for a few seconds while the disk is full: what is to be stored may have been paid for.
async fn patiently(store: impl AsyncFn() -> Result<(), DbError>) -> Result<(), Failure> {
    for seconds in [1, 2, 4] {
        match store().await {
            Err(error @ DbError::DiskFull { .. }) => {
                tracing::warn!("{error}; trying again in {seconds} s");
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            result => return result.map_err(storage),
        }
    }
    store().await.map_err(storage)
}
