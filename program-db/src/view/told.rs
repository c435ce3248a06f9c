//! What a search was told, for those who look at it from outside: its islands and grids follow from it.

use search::{Fingerprint, Language, Outcome, ProgramId, Proposal};
use sqlx::FromRow;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// One number, as search was told of it.
#[derive(Debug, Clone)]
pub struct Told {
    /// The proposal.
    pub proposal: Proposal,
    /// How it ended.
    pub outcome: Outcome,
}

#[derive(FromRow)]
struct Row {
    number: i64,
    parent: Option<i64>,
    island: i64,
    proposer: String,
    operator: String,
    model: Option<String>,
    cost: Option<f64>,
    repairs: Option<i64>,
    generation: Option<u32>,
    fingerprint: Option<Vec<u8>>,
    outcome: Option<String>,
}

impl ProgramDb {
    /// Up to `limit` numbers behind `after` that search was told of: it is told in order, so the first number without an outcome
    /// ends them. Sources are read only where no fingerprint is stored, or one of another version.
    pub async fn told(
        &self,
        run: RunId,
        after: Option<ProgramId>,
        limit: u32,
        language: Language,
    ) -> Result<Vec<Told>, DbError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT number, parent, island, proposer, operator, model, cost, repairs, generation, fingerprint, outcome
             FROM proposal LEFT JOIN program USING (run_id, number) LEFT JOIN outcome USING (run_id, number)
             WHERE run_id = ? AND number > ? ORDER BY number LIMIT ?",
        )
        .bind(run)
        .bind(after.map_or(-1, |after| after.0.cast_signed()))
        .bind(limit)
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        let mut told = Vec::with_capacity(rows.len());
        for row in rows {
            let id = ProgramId(row.number.cast_unsigned());
            let Some(outcome) = self.read_outcome(run, id, row.outcome.as_deref())? else { break };
            let code = match (row.generation, row.fingerprint.as_deref().and_then(Fingerprint::from_bytes)) {
                (None, _) => None,
                (Some(_), Some(fingerprint)) => Some(fingerprint),
                (Some(_), None) => Some(Fingerprint::of(&self.program(run, id).await?.source, language)),
            };
            let proposal = Proposal {
                id,
                parent: row.parent.map(|parent| ProgramId(parent.cast_unsigned())),
                island: row.island as usize,
                generation: row.generation.unwrap_or_default(),
                code,
                proposer: row.proposer,
                operator: row.operator,
                model: row.model,
                cost: row.cost,
                repairs: row.repairs.map(|number| ProgramId(number.cast_unsigned())),
            };
            told.push(Told { proposal, outcome });
        }
        Ok(told)
    }
}
