//! Runs that another program made: stored as they were, in one transaction.

use search::ProgramId;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::evaluation::{NewEvaluation, insert_whole};
use crate::program::{NewProgram, insert_program};
use crate::run::{NewRun, RunId, insert_run};

/// A program of such a run.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedProgram {
    /// Its number in the run; the first one's is 0.
    pub number: ProgramId,
    /// Milliseconds since the Unix epoch.
    pub created_at: i64,
    /// The island it is on.
    pub island: usize,
    /// The program it was made from, of a smaller number; absent for number 0 only.
    pub parent: Option<ProgramId>,
    /// Who proposed it.
    pub proposer: String,
    /// What was done.
    pub operator: String,
    /// The text that was sent.
    pub prompt: Option<String>,
    /// The text that came back.
    pub reply: Option<String>,
    /// The program itself.
    pub program: NewProgram,
    /// How it was measured there; absent if it is to be measured when the run resumes.
    pub evaluation: Option<NewEvaluation>,
}

impl ProgramDb {
    /// Stores a run with all its programs, in order of numbers, or nothing. The run's `initial` must be the program of
    /// number 0.
    pub async fn import_run(&self, run: &NewRun, programs: &[ImportedProgram]) -> Result<RunId, DbError> {
        let mut write = self.begin().await?;
        let id = insert_run(write.connection(), run).await.map_err(self.error())?;
        for program in programs {
            let number = program.number;
            sqlx::query(
                "INSERT INTO proposal (run_id, number, created_at, island, parent, proposer, operator, latency_ms, requests,
                                       inspirations, prompt, reply)
                 VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, '[]', ?, ?)",
            )
            .bind(id)
            .bind(number.0.cast_signed())
            .bind(program.created_at)
            .bind((program.island as u64).cast_signed())
            .bind(program.parent.map(|parent| parent.0.cast_signed()))
            .bind(&program.proposer)
            .bind(&program.operator)
            .bind(&program.prompt)
            .bind(&program.reply)
            .execute(write.connection())
            .await
            .map_err(self.stored_twice(|| format!("proposal {number} of run {id}")))?;
            insert_program(write.connection(), id, number, &program.program).await.map_err(self.error())?;
            let Some(evaluation) = &program.evaluation else { continue };
            insert_whole(self, write.connection(), id, number, evaluation).await?;
        }
        write.commit().await?;
        Ok(id)
    }
}
