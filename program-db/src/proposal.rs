//! Proposals: every attempt of a proposer, failed ones too.

use std::time::Duration;

use search::{Outcome, ProgramId};
use sqlx::{FromRow, SqliteConnection};

use crate::db::{Insert, ProgramDb};
use crate::error::DbError;
use crate::outcome::insert_outcome;
use crate::program::{NewProgram, bind_program, insert_program, program_sql};
use crate::run::RunId;

/// A proposal whose reply has just arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct NewProposal {
    /// Its number in the run, from 1.
    pub number: ProgramId,
    /// The island it was asked for.
    pub island: usize,
    /// The program it starts from; must be stored, and have a smaller number.
    pub parent: ProgramId,
    /// Other programs that were shown.
    pub inspirations: Vec<ProgramId>,
    /// Who proposed: `llm`, `rewrite`, `replay`, ...
    pub proposer: String,
    /// What was done, e.g. `edit`, `full_rewrite`, `crossover`.
    pub operator: String,
    /// The model that answered.
    pub model: Option<String>,
    /// The text that was sent, without secrets.
    pub prompt: Option<String>,
    /// The text that came back.
    pub reply: Option<String>,
    /// Tokens sent.
    pub tokens_in: Option<u64>,
    /// Tokens received.
    pub tokens_out: Option<u64>,
    /// Of those sent, how many the endpoint had in its cache, where it says so.
    pub tokens_cached: Option<u64>,
    /// Of those received, how many were reasoning, where the endpoint says so.
    pub tokens_reasoning: Option<u64>,
    /// Whether some of the tokens are estimated, because an endpoint didn't count them.
    pub tokens_estimated: bool,
    /// Price, in the currency of the configured prices.
    pub cost: Option<f64>,
    /// From asking to the end of the reply.
    pub latency: Duration,
    /// Requests made for it, failed ones included.
    pub requests: u32,
    /// The failed proposal that it mends.
    pub repairs: Option<ProgramId>,
    /// Version of the lessons that the prompt showed.
    pub lesson: Option<u32>,
    /// What the prompt left out for length, in words.
    pub left_out: Vec<String>,
    /// The program, or the outcome that says why there is none.
    pub change: Result<NewProgram, Outcome>,
}

/// A stored proposal.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Its number in the run; 0 is the initial program.
    pub number: ProgramId,
    /// Milliseconds since the Unix epoch.
    pub created_at: i64,
    /// The island it was asked for.
    pub island: usize,
    /// The program it started from; none for the initial program.
    pub parent: Option<ProgramId>,
    /// Other programs that were shown.
    pub inspirations: Vec<ProgramId>,
    /// Who proposed; `initial` for the initial program.
    pub proposer: String,
    /// What was done.
    pub operator: String,
    /// The model that answered.
    pub model: Option<String>,
    /// The text that was sent.
    pub prompt: Option<String>,
    /// The text that came back.
    pub reply: Option<String>,
    /// Tokens sent.
    pub tokens_in: Option<u64>,
    /// Tokens received.
    pub tokens_out: Option<u64>,
    /// Of those sent, how many the endpoint had in its cache, where it says so.
    pub tokens_cached: Option<u64>,
    /// Of those received, how many were reasoning, where the endpoint says so.
    pub tokens_reasoning: Option<u64>,
    /// Whether some of the tokens are estimated, because an endpoint didn't count them.
    pub tokens_estimated: bool,
    /// Price, in the currency of the configured prices.
    pub cost: Option<f64>,
    /// From asking to the end of the reply.
    pub latency: Duration,
    /// Requests made for it, failed ones included.
    pub requests: u32,
    /// The failed proposal that it mends.
    pub repairs: Option<ProgramId>,
    /// Version of the lessons that the prompt showed.
    pub lesson: Option<u32>,
    /// What the prompt left out for length, in words.
    pub left_out: Vec<String>,
}

#[derive(FromRow)]
struct Row {
    number: i64,
    created_at: i64,
    island: i64,
    parent: Option<i64>,
    inspirations: String,
    proposer: String,
    operator: String,
    model: Option<String>,
    prompt: Option<String>,
    reply: Option<String>,
    tokens_in: Option<i64>,
    tokens_out: Option<i64>,
    tokens_cached: Option<i64>,
    tokens_reasoning: Option<i64>,
    tokens_estimated: bool,
    cost: Option<f64>,
    latency_ms: i64,
    requests: u32,
    repairs: Option<i64>,
    lesson: Option<u32>,
    left_out: Option<String>,
}

impl ProgramDb {
    /// Stores a proposal with its program, or with the outcome that says why there is none, in one transaction.
    /// So every stored proposal can be gone on with: what was paid for is never asked again.
    ///
    /// # Errors
    /// [`DbError::AlreadyStored`] if the run has this number.
    pub async fn store_proposal(&self, run: RunId, proposal: &NewProposal) -> Result<(), DbError> {
        let mut write = self.begin().await?;
        insert_proposal(self, write.connection(), run, proposal).await?;
        write.commit().await
    }

    /// One proposal with its prompt and reply.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`], [`DbError::NoSuchProgram`].
    pub async fn proposal(&self, run: RunId, number: ProgramId) -> Result<Proposal, DbError> {
        let row: Option<Row> = sqlx::query_as("SELECT * FROM proposal WHERE run_id = ? AND number = ?")
            .bind(run)
            .bind(number.0.cast_signed())
            .fetch_optional(self.readers())
            .await
            .map_err(self.error())?;
        let Some(row) = row else {
            return Err(self.no_such_program(run, number).await);
        };
        let id = |number: i64| ProgramId(number.cast_unsigned());
        let inspirations = serde_json::from_str(&row.inspirations).map_err(|error| {
            self.unreadable(format!("the inspirations of proposal {number} of run {run}"), &error)
        })?;
        let left_out = row.left_out.as_deref().map(serde_json::from_str).transpose().map_err(|error| {
            self.unreadable(format!("what the prompt of proposal {number} of run {run} left out"), &error)
        })?;
        Ok(Proposal {
            number: id(row.number),
            created_at: row.created_at,
            island: row.island as usize,
            parent: row.parent.map(id),
            inspirations,
            proposer: row.proposer,
            operator: row.operator,
            model: row.model,
            prompt: row.prompt,
            reply: row.reply,
            tokens_in: row.tokens_in.map(i64::cast_unsigned),
            tokens_out: row.tokens_out.map(i64::cast_unsigned),
            tokens_cached: row.tokens_cached.map(i64::cast_unsigned),
            tokens_reasoning: row.tokens_reasoning.map(i64::cast_unsigned),
            tokens_estimated: row.tokens_estimated,
            cost: row.cost,
            latency: Duration::from_millis(row.latency_ms.cast_unsigned()),
            requests: row.requests,
            repairs: row.repairs.map(id),
            lesson: row.lesson,
            left_out: left_out.unwrap_or_default(),
        })
    }
}

macro_rules! proposal_sql {
    () => {
        "INSERT INTO proposal (run_id, number, island, parent, proposer, operator, model, tokens_in, tokens_out,
                               tokens_cached, tokens_reasoning, tokens_estimated, cost, latency_ms, requests,
                               inspirations, prompt, reply, repairs, lesson, left_out)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    };
}

/// Inserts a proposal with its program or its outcome.
pub(crate) async fn insert_proposal(
    db: &ProgramDb,
    connection: &mut SqliteConnection,
    run: RunId,
    proposal: &NewProposal,
) -> Result<(), DbError> {
    let number = proposal.number;
    let stored_twice = db.stored_twice(|| format!("proposal {number} of run {run}"));
    match &proposal.change {
        Ok(program) => {
            let query = sqlx::query(concat!(proposal_sql!(), ";", program_sql!()));
            let query = bind_program(bind_proposal(query, run, proposal), run, number, program);
            query.execute(connection).await.map_err(stored_twice)?;
            Ok(())
        }
        Err(outcome) => {
            let query = bind_proposal(sqlx::query(proposal_sql!()), run, proposal);
            query.execute(&mut *connection).await.map_err(stored_twice)?;
            insert_outcome(db, connection, run, number, outcome, None).await
        }
    }
}

fn bind_proposal<'q>(query: Insert<'q>, run: RunId, proposal: &'q NewProposal) -> Insert<'q> {
    let inspirations: Vec<String> = proposal.inspirations.iter().map(ToString::to_string).collect();
    query
        .bind(run)
        .bind(proposal.number.0.cast_signed())
        .bind((proposal.island as u64).cast_signed())
        .bind(proposal.parent.0.cast_signed())
        .bind(&proposal.proposer)
        .bind(&proposal.operator)
        .bind(&proposal.model)
        .bind(proposal.tokens_in.map(u64::cast_signed))
        .bind(proposal.tokens_out.map(u64::cast_signed))
        .bind(proposal.tokens_cached.map(u64::cast_signed))
        .bind(proposal.tokens_reasoning.map(u64::cast_signed))
        .bind(proposal.tokens_estimated)
        .bind(proposal.cost)
        .bind(proposal.latency.as_millis() as i64)
        .bind(proposal.requests)
        .bind(format!("[{}]", inspirations.join(",")))
        .bind(&proposal.prompt)
        .bind(&proposal.reply)
        .bind(proposal.repairs.map(|id| id.0.cast_signed()))
        .bind(proposal.lesson)
        .bind((!proposal.left_out.is_empty()).then(|| serde_json::json!(proposal.left_out).to_string()))
}

/// Number 0: nobody proposed it, and it is on every island.
pub(crate) async fn insert_initial(
    connection: &mut SqliteConnection,
    run: RunId,
    program: &NewProgram,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO proposal (run_id, number, island, proposer, operator, latency_ms, requests, inspirations)
         VALUES (?, 0, 0, 'initial', 'initial', 0, 0, '[]')",
    )
    .bind(run)
    .execute(&mut *connection)
    .await?;
    insert_program(connection, run, ProgramId::INITIAL, program).await
}
