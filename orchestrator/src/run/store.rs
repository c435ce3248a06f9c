//! A run's rows: what the loop stores, and what earlier sessions have stored.

use std::time::Duration;

use evaluator::EvaluationReport;
use program_db::{DbError, NewEvaluation, NewProgram, NewProposal, ProgramDb, Replay, RunId, Stored};
use search::{Fingerprint, Language, Outcome, ProgramId};

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

fn new_evaluation(report: &EvaluationReport) -> NewEvaluation {
    let by = report.measured_by.clone();
    NewEvaluation {
        measured_by: program_db::MeasuredBy {
            evaluator: by.evaluator,
            harness: by.harness,
            mlx: by.mlx,
            backend: by.backend,
            device: by.device,
            sandbox: Some(by.sandbox.as_str().to_owned()),
            protocol: by.protocol,
            parameters: by.parameters,
        },
        started_at: report.started_at,
        ended_at: report.ended_at,
        trials: report.trials.iter().map(stored_trial).collect(),
        artifacts: report
            .artifacts
            .iter()
            .map(|artifact| program_db::Artifact {
                name: artifact.name.clone(),
                content: artifact.content.clone(),
            })
            .collect(),
        outcome: report.outcome.clone(),
    }
}

/// A trial as the database has it.
pub fn stored_trial(record: &evaluator::TrialRecord) -> program_db::Trial {
    program_db::Trial {
        stage: record.stage.clone(),
        arm: record.arm.as_str().to_owned(),
        seed: record.seed,
        started_at: record.started_at,
        ended_at: record.ended_at,
        wall_seconds: record.wall_seconds,
        exit: record.exit.as_str().to_owned(),
        tokens_per_second: record.tokens_per_second,
        peak_memory_bytes: record.peak_memory_bytes,
        process_peak_bytes: record.process_peak_bytes,
        train_loss: record.train_loss,
        validation_loss: record.validation_loss,
        kernel: record.kernel.clone(),
        kernel_layers: record.kernel_layers,
        metrics: record.metrics.clone(),
        message: record.message.clone(),
    }
}
