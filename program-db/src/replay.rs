//! What a run loop needs to go on: everything stored, in order of numbers.

use search::{Fingerprint, Language, Outcome, ProgramId};
use sqlx::FromRow;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// Rows read at once. A read is short, so that it never keeps the write-ahead log from being moved into the file.
const CHUNK: u32 = 256;

/// What a replay needs of a program.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredProgram {
    /// Hash of its tokens.
    pub code_hash: String,
    /// The whole source text, where it is needed: without an outcome it is to be evaluated, and without a fingerprint that can be
    /// read one is made from it.
    pub source: Option<String>,
    /// What search keeps of it; absent in rows from before there were any, and where another version's form stands.
    pub fingerprint: Option<Fingerprint>,
}

/// One number of a run, as far as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The number; 0 is the initial program.
    pub number: ProgramId,
    /// The island it was asked for.
    pub island: usize,
    /// The program it started from; none for the initial program.
    pub parent: Option<ProgramId>,
    /// Who proposed; `initial` for the initial program.
    pub proposer: String,
    /// What was done.
    pub operator: String,
    /// The model that answered.
    pub model: Option<String>,
    /// What it cost.
    pub cost: Option<f64>,
    /// The failed proposal that it mends.
    pub repairs: Option<ProgramId>,
    /// Lineage depth; absent without a program.
    pub generation: Option<u32>,
    /// The program, if the proposal led to one.
    pub program: Option<StoredProgram>,
    /// The outcome; absent if it is still to be evaluated (then there is a program).
    pub outcome: Option<Outcome>,
}

impl Stored {
    /// The proposal as search is told of it.
    pub fn to_proposal(&self, language: Language) -> search::Proposal {
        let fingerprint = |program: &StoredProgram| {
            let stored = program.fingerprint.clone();
            stored.unwrap_or_else(|| Fingerprint::of(program.source.as_deref().unwrap_or_default(), language))
        };
        search::Proposal {
            id: self.number,
            parent: self.parent,
            island: self.island,
            generation: self.generation.unwrap_or_default(),
            code: self.program.as_ref().map(fingerprint),
            proposer: self.proposer.clone(),
            operator: self.operator.clone(),
            model: self.model.clone(),
            cost: self.cost,
            repairs: self.repairs,
        }
    }
}

/// Reads a run in order of numbers. Numbers may be missing: proposals arrive in any order, and a run can end between.
#[derive(Debug)]
pub struct Replay {
    db: ProgramDb,
    run: RunId,
    after: i64,
    chunk: std::vec::IntoIter<Stored>,
    done: bool,
}

#[derive(FromRow)]
struct Row {
    number: i64,
    island: i64,
    parent: Option<i64>,
    proposer: String,
    operator: String,
    model: Option<String>,
    cost: Option<f64>,
    repairs: Option<i64>,
    generation: Option<u32>,
    code_hash: Option<String>,
    source: Option<String>,
    fingerprint: Option<Vec<u8>>,
    outcome: Option<String>,
}

impl ProgramDb {
    /// Everything that is stored of a run, in order of numbers.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`].
    pub async fn replay(&self, run: RunId) -> Result<Replay, DbError> {
        self.run(run).await?;
        Ok(Replay { db: self.clone(), run, after: -1, chunk: Vec::new().into_iter(), done: false })
    }
}

impl Replay {
    /// The next number, or none after the last.
    pub async fn next(&mut self) -> Result<Option<Stored>, DbError> {
        if let Some(stored) = self.chunk.next() {
            return Ok(Some(stored));
        }
        if self.done {
            return Ok(None);
        }
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT number, island, parent, proposer, operator, model, cost, repairs, generation, code_hash,
                    iif(fingerprint IS NULL OR outcome IS NULL, source, NULL) AS source, fingerprint, outcome
             FROM proposal LEFT JOIN program USING (run_id, number) LEFT JOIN outcome USING (run_id, number)
             WHERE run_id = ? AND number > ? ORDER BY number LIMIT ?",
        )
        .bind(self.run)
        .bind(self.after)
        .bind(CHUNK)
        .fetch_all(self.db.readers())
        .await
        .map_err(self.db.error())?;
        self.done = rows.len() < CHUNK as usize;
        self.after = rows.last().map_or(self.after, |last| last.number);
        let mut chunk = Vec::with_capacity(rows.len());
        for row in rows {
            let mut stored = self.read(row)?;
            if let Some(program) = &mut stored.program
                && program.source.is_none()
                && program.fingerprint.is_none()
            {
                program.source = Some(self.db.program(self.run, stored.number).await?.source);
            }
            chunk.push(stored);
        }
        self.chunk = chunk.into_iter();
        Ok(self.chunk.next())
    }

    /// The rest at once.
    pub async fn collect(mut self) -> Result<Vec<Stored>, DbError> {
        let mut all = Vec::new();
        while let Some(stored) = self.next().await? {
            all.push(stored);
        }
        Ok(all)
    }

    fn read(&self, row: Row) -> Result<Stored, DbError> {
        let number = ProgramId(row.number.cast_unsigned());
        Ok(Stored {
            number,
            island: row.island as usize,
            parent: row.parent.map(|parent| ProgramId(parent.cast_unsigned())),
            proposer: row.proposer,
            operator: row.operator,
            model: row.model,
            cost: row.cost,
            repairs: row.repairs.map(|number| ProgramId(number.cast_unsigned())),
            generation: row.generation,
            program: row.code_hash.map(|code_hash| StoredProgram {
                code_hash,
                source: row.source,
                fingerprint: row.fingerprint.as_deref().and_then(Fingerprint::from_bytes),
            }),
            outcome: self.db.read_outcome(self.run, number, row.outcome.as_deref())?,
        })
    }
}
