//! Programs: stored source with its lineage and outcome.

use search::{Outcome, ProgramId, Score};
use sqlx::{FromRow, SqliteConnection};

use crate::db::{Insert, ProgramDb};
use crate::error::DbError;
use crate::run::RunId;

/// What a proposal led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProgram {
    /// Hash of its tokens: the same for programs that differ in spaces and comments only.
    pub code_hash: String,
    /// The whole source text.
    pub source: String,
    /// [`search::Fingerprint::to_bytes`] of it; absent in rows from before there were any.
    pub fingerprint: Option<Vec<u8>>,
}

/// A stored program.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// Its number in the run.
    pub number: ProgramId,
    /// The program it was made from; none for the initial program.
    pub parent: Option<ProgramId>,
    /// The island it was asked for.
    pub island: usize,
    /// Lineage depth; the initial program is 0.
    pub generation: u32,
    /// Hash of its tokens.
    pub code_hash: String,
    /// The whole source text.
    pub source: String,
    /// Who proposed it; `initial` for the initial program.
    pub proposer: String,
    /// What was done.
    pub operator: String,
    /// The model that answered.
    pub model: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub created_at: i64,
    /// How it ended; none while it isn't evaluated.
    pub outcome: Option<Outcome>,
}

impl Program {
    /// Its score, if it was measured.
    pub fn score(&self) -> Option<Score> {
        self.outcome.as_ref().and_then(Outcome::score)
    }
}

impl From<Program> for search::Program {
    fn from(program: Program) -> Self {
        Self {
            id: program.number,
            parent: program.parent,
            island: program.island,
            generation: program.generation,
            source: program.source,
        }
    }
}

#[derive(FromRow)]
struct Row {
    number: i64,
    parent: Option<i64>,
    island: i64,
    generation: u32,
    code_hash: String,
    source: String,
    proposer: String,
    operator: String,
    model: Option<String>,
    created_at: i64,
    outcome: Option<String>,
}

/// Selects [`Row`] from what has the tables `proposal`, `program` and `outcome`; sqlx takes only SQL that is known when
/// compiling.
macro_rules! select {
    ($from:literal) => {
        concat!(
            "SELECT number, parent, island, generation, code_hash, source, proposer, operator, model,
                    proposal.created_at, outcome ",
            $from
        )
    };
}

/// Selects the [`Row`] of run `?1` with the highest score of those that a condition is true of; of equal ones the earliest. It goes down
/// the scores, so a condition must not tempt SQLite to go up the numbers.
macro_rules! select_best {
    ($condition:literal) => {
        concat!(
            select!("FROM proposal JOIN program USING (run_id, number) JOIN outcome USING (run_id, number)"),
            " WHERE run_id = ?1 AND number = (
                  SELECT number FROM outcome INDEXED BY outcome_by_score
                  WHERE run_id = ?1 AND score IS NOT NULL AND ",
            $condition,
            " ORDER BY score DESC, number LIMIT 1)"
        )
    };
}

impl ProgramDb {
    /// One program.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`], [`DbError::NoSuchProgram`]; [`DbError::NoProgram`] for a proposal that led to none.
    pub async fn program(&self, run: RunId, number: ProgramId) -> Result<Program, DbError> {
        let row = sqlx::query_as(select!(
            "FROM proposal JOIN program USING (run_id, number) LEFT JOIN outcome USING (run_id, number)
             WHERE run_id = ? AND number = ?"
        ))
        .bind(run)
        .bind(number.0.cast_signed())
        .fetch_optional(self.readers())
        .await
        .map_err(self.error())?;
        match row {
            Some(row) => self.read_program(run, row),
            None => Err(match self.outcome(run, number).await {
                Ok(outcome) => DbError::NoProgram {
                    run,
                    number,
                    why: outcome.map_or_else(|| "it has no outcome yet".to_owned(), |it| it.to_string()),
                },
                Err(error) => error,
            }),
        }
    }

    /// The programs made from this one, in order of numbers.
    ///
    /// # Errors
    /// As [`ProgramDb::program`].
    pub async fn children(&self, run: RunId, number: ProgramId) -> Result<Vec<Program>, DbError> {
        let rows: Vec<Row> = sqlx::query_as(select!(
            "FROM proposal JOIN program USING (run_id, number) LEFT JOIN outcome USING (run_id, number)
             WHERE run_id = ? AND parent = ? ORDER BY number"
        ))
        .bind(run)
        .bind(number.0.cast_signed())
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        if rows.is_empty() {
            self.program(run, number).await?;
        }
        self.read_programs(run, rows)
    }

    /// The program and its ancestors, from the initial program on.
    ///
    /// # Errors
    /// As [`ProgramDb::program`].
    pub async fn lineage(&self, run: RunId, number: ProgramId) -> Result<Vec<Program>, DbError> {
        // A scalar subquery, because SQLite would prepare a join for far more ancestors than there are.
        let rows: Vec<Row> = sqlx::query_as(concat!(
            "WITH RECURSIVE ancestor (n) AS (
                 SELECT ?2
                 UNION ALL
                 SELECT (SELECT parent FROM proposal WHERE run_id = ?1 AND number = n) FROM ancestor
                 WHERE n IS NOT NULL
             ) ",
            select!(
                "FROM proposal JOIN program USING (run_id, number) LEFT JOIN outcome USING (run_id, number)
                 WHERE run_id = ?1 AND number IN ancestor ORDER BY number"
            )
        ))
        .bind(run)
        .bind(number.0.cast_signed())
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        // A proposal without a program has ancestors, too, but isn't what was asked for.
        if rows.last().is_none_or(|last| last.number.cast_unsigned() != number.0) {
            self.program(run, number).await?;
        }
        self.read_programs(run, rows)
    }

    /// The `count` programs with the highest scores, best first; of equal ones the earliest. Whether a score is beyond
    /// chance is for its verdict to say: see [`ProgramDb::incumbent`].
    pub async fn best(&self, run: RunId, count: u32) -> Result<Vec<Program>, DbError> {
        let rows: Vec<Row> = sqlx::query_as(select!(
            "FROM outcome JOIN proposal USING (run_id, number) JOIN program USING (run_id, number)
             WHERE run_id = ? AND score IS NOT NULL ORDER BY score DESC, number LIMIT ?"
        ))
        .bind(run)
        .bind(count)
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        self.read_programs(run, rows)
    }

    /// The program with the highest score among the numbers below one; of equal ones the earliest.
    ///
    /// (The `+` keeps SQLite from going through all numbers below: a running search asks for nearly all of them.)
    pub async fn best_below(&self, run: RunId, limit: ProgramId) -> Result<Option<Program>, DbError> {
        let row: Option<Row> = sqlx::query_as(select_best!("+number < ?2"))
            .bind(run)
            .bind(limit.0.cast_signed())
            .fetch_optional(self.readers())
            .await
            .map_err(self.error())?;
        row.map(|row| self.read_program(run, row)).transpose()
    }

    /// The program with the highest score among those whose verdict is `improved`.
    pub async fn incumbent(&self, run: RunId) -> Result<Option<Program>, DbError> {
        let row: Option<Row> = sqlx::query_as(select_best!("verdict = 'improved'"))
            .bind(run)
            .fetch_optional(self.readers())
            .await
            .map_err(self.error())?;
        row.map(|row| self.read_program(run, row)).transpose()
    }

    fn read_programs(&self, run: RunId, rows: Vec<Row>) -> Result<Vec<Program>, DbError> {
        rows.into_iter().map(|row| self.read_program(run, row)).collect()
    }

    fn read_program(&self, run: RunId, row: Row) -> Result<Program, DbError> {
        let number = ProgramId(row.number.cast_unsigned());
        Ok(Program {
            outcome: self.read_outcome(run, number, row.outcome.as_deref())?,
            number,
            parent: row.parent.map(|parent| ProgramId(parent.cast_unsigned())),
            island: row.island as usize,
            generation: row.generation,
            code_hash: row.code_hash,
            source: row.source,
            proposer: row.proposer,
            operator: row.operator,
            model: row.model,
            created_at: row.created_at,
        })
    }
}

/// The generation is counted here, so that it can't be anything but lineage depth.
macro_rules! program_sql {
    () => {
        "INSERT INTO program (run_id, number, generation, code_hash, source, fingerprint)
         SELECT proposal.run_id, proposal.number, coalesce(parent.generation + 1, 0), ?, ?, ?
         FROM proposal
         LEFT JOIN program AS parent ON parent.run_id = proposal.run_id AND parent.number = proposal.parent
         WHERE proposal.run_id = ? AND proposal.number = ?"
    };
}
pub(crate) use program_sql;

/// Binds what [`program_sql!`] inserts.
pub(crate) fn bind_program<'q>(
    query: Insert<'q>,
    run: RunId,
    number: ProgramId,
    program: &'q NewProgram,
) -> Insert<'q> {
    query
        .bind(&program.code_hash)
        .bind(&program.source)
        .bind(&program.fingerprint)
        .bind(run)
        .bind(number.0.cast_signed())
}

/// Inserts the program of a stored proposal.
pub(crate) async fn insert_program(
    connection: &mut SqliteConnection,
    run: RunId,
    number: ProgramId,
    program: &NewProgram,
) -> Result<(), sqlx::Error> {
    bind_program(sqlx::query(program_sql!()), run, number, program).execute(connection).await?;
    Ok(())
}
