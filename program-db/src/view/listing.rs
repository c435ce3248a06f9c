//! A run's proposals page by page, without their long texts.

use search::ProgramId;
use serde::Serialize;
use sqlx::FromRow;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// One proposal in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed {
    /// Its number.
    pub number: ProgramId,
    /// The program it was made from; none for the initial program.
    pub parent: Option<ProgramId>,
    /// The island it was asked for.
    pub island: u64,
    /// Lineage depth; none if it led to no program.
    pub generation: Option<u32>,
    /// Who proposed.
    pub proposer: String,
    /// What was done.
    pub operator: String,
    /// The model that answered.
    pub model: Option<String>,
    /// Price.
    pub cost: Option<f64>,
    /// Milliseconds since the Unix epoch.
    pub created_at: i64,
    /// [`search::Outcome::kind`]; none while it has no outcome.
    pub kind: Option<String>,
    /// The score, if measured.
    pub score: Option<f64>,
    /// Its parent's score, if that was measured.
    pub parent_score: Option<f64>,
    /// The verdict, if measured.
    pub verdict: Option<String>,
    /// How it ended, in one line.
    pub message: Option<String>,
}

impl Listed {
    /// The model, else the proposer.
    pub fn by(&self) -> &str {
        self.model.as_deref().unwrap_or(&self.proposer)
    }
}

/// In which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The highest number first.
    #[default]
    Newest,
    /// The lowest number first.
    Oldest,
    /// The highest score first; of equal ones the earliest. Only what was measured.
    Best,
}

/// Where a page begins: behind this row of the page before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// That row's number.
    pub number: ProgramId,
    /// Its score; only [`Order::Best`] needs it.
    pub score: Option<f64>,
}

/// What to list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Listing {
    /// In which order.
    pub order: Order,
    /// Only this [`search::Outcome::kind`], or `pending`.
    pub kind: Option<String>,
    /// Only this island.
    pub island: Option<u64>,
    /// Only this model, or this proposer where no model answered.
    pub by: Option<String>,
    /// Only what was made from this program.
    pub parent: Option<ProgramId>,
    /// Behind this row; none: from the beginning.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: u32,
}

#[derive(FromRow)]
struct Row {
    number: i64,
    parent: Option<i64>,
    island: i64,
    generation: Option<u32>,
    proposer: String,
    operator: String,
    model: Option<String>,
    cost: Option<f64>,
    created_at: i64,
    kind: Option<String>,
    score: Option<f64>,
    parent_score: Option<f64>,
    verdict: Option<String>,
    message: Option<String>,
}

/// The rows of some numbers: `$inner` selects them, in order, from indexes; the rest is looked up for these few.
macro_rules! listed {
    ($inner:literal, $order:literal) => {
        concat!(
            "WITH chosen AS MATERIALIZED (",
            $inner,
            ")
             SELECT proposal.number, proposal.parent, proposal.island, generation, proposer, operator, model, cost,
                    proposal.created_at, outcome.kind, outcome.score, origin.score AS parent_score, outcome.verdict, outcome.message
             FROM chosen JOIN proposal ON proposal.run_id = ?1 AND proposal.number = chosen.number
             LEFT JOIN program ON program.run_id = ?1 AND program.number = chosen.number
             LEFT JOIN outcome ON outcome.run_id = ?1 AND outcome.number = chosen.number
             LEFT JOIN outcome AS origin INDEXED BY outcome_facts ON origin.run_id = ?1 AND origin.number = proposal.parent
             ORDER BY ",
            $order
        )
    };
}

impl ProgramDb {
    /// One page of a run's proposals; the initial program is among them.
    pub async fn listing(&self, run: RunId, listing: &Listing) -> Result<Vec<Listed>, DbError> {
        let sql = match (listing.order, listing.parent.is_some()) {
            (Order::Newest, false) => listed!(
                "SELECT p.number FROM proposal AS p INDEXED BY proposal_facts
                 LEFT JOIN outcome AS o INDEXED BY outcome_facts ON o.run_id = ?1 AND o.number = p.number
                 WHERE p.run_id = ?1 AND p.number < coalesce(?2, 9223372036854775807) AND ?3 IS NULL
                   AND (?4 IS NULL OR coalesce(o.kind, 'pending') = ?4) AND (?5 IS NULL OR p.island = ?5)
                   AND (?6 IS NULL OR coalesce(p.model, p.proposer) = ?6) AND ?7 IS NULL ORDER BY p.number DESC LIMIT ?8",
                "proposal.number DESC"
            ),
            (Order::Oldest, false) => listed!(
                "SELECT p.number FROM proposal AS p INDEXED BY proposal_facts
                 LEFT JOIN outcome AS o INDEXED BY outcome_facts ON o.run_id = ?1 AND o.number = p.number
                 WHERE p.run_id = ?1 AND p.number > coalesce(?2, -1) AND ?3 IS NULL
                   AND (?4 IS NULL OR coalesce(o.kind, 'pending') = ?4) AND (?5 IS NULL OR p.island = ?5)
                   AND (?6 IS NULL OR coalesce(p.model, p.proposer) = ?6) AND ?7 IS NULL ORDER BY p.number LIMIT ?8",
                "proposal.number"
            ),
            (Order::Newest | Order::Oldest, true) => listed!(
                "SELECT p.number FROM proposal AS p INDEXED BY proposal_by_parent
                 LEFT JOIN outcome AS o INDEXED BY outcome_facts ON o.run_id = ?1 AND o.number = p.number
                 WHERE p.run_id = ?1 AND p.parent = ?7 AND p.number > coalesce(?2, -1) AND ?3 IS NULL
                   AND (?4 IS NULL OR coalesce(o.kind, 'pending') = ?4) AND (?5 IS NULL OR p.island = ?5)
                   AND (?6 IS NULL OR coalesce(p.model, p.proposer) = ?6) ORDER BY p.number LIMIT ?8",
                "proposal.number"
            ),
            (Order::Best, _) => listed!(
                "SELECT o.number FROM outcome AS o
                 JOIN proposal AS p INDEXED BY proposal_facts ON p.run_id = ?1 AND p.number = o.number
                 WHERE o.run_id = ?1 AND o.score IS NOT NULL
                   AND (?2 IS NULL OR o.score < ?3 OR (o.score = ?3 AND o.number > ?2))
                   AND (?4 IS NULL OR o.kind = ?4) AND (?5 IS NULL OR p.island = ?5)
                   AND (?6 IS NULL OR coalesce(p.model, p.proposer) = ?6) AND (?7 IS NULL OR p.parent = ?7)
                 ORDER BY o.score DESC, o.number LIMIT ?8",
                "outcome.score DESC, proposal.number"
            ),
        };
        let after = listing.after;
        let rows: Vec<Row> = sqlx::query_as(sql)
            .bind(run)
            .bind(after.map(|place| place.number.0.cast_signed()))
            .bind(after.and_then(|place| place.score).filter(|_| listing.order == Order::Best))
            .bind(&listing.kind)
            .bind(listing.island.map(u64::cast_signed))
            .bind(&listing.by)
            .bind(listing.parent.map(|parent| parent.0.cast_signed()))
            .bind(listing.limit)
            .fetch_all(self.readers())
            .await
            .map_err(self.error())?;
        Ok(rows.into_iter().map(read).collect())
    }

    /// How many proposals started from a program.
    pub async fn child_count(&self, run: RunId, number: ProgramId) -> Result<u64, DbError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM proposal WHERE run_id = ? AND parent = ?")
            .bind(run)
            .bind(number.0.cast_signed())
            .fetch_one(self.readers())
            .await
            .map_err(self.error())?;
        Ok(count.cast_unsigned())
    }
}

fn read(row: Row) -> Listed {
    Listed {
        number: ProgramId(row.number.cast_unsigned()),
        parent: row.parent.map(|parent| ProgramId(parent.cast_unsigned())),
        island: row.island.cast_unsigned(),
        generation: row.generation,
        proposer: row.proposer,
        operator: row.operator,
        model: row.model,
        cost: row.cost,
        created_at: row.created_at,
        kind: row.kind,
        score: row.score,
        parent_score: row.parent_score,
        verdict: row.verdict,
        message: row.message,
    }
}
