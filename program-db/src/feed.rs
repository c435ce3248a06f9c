//! What was stored since a place, in the order in which it was: for those who follow searches of other processes live.
//!
//! Rows are only ever added, so the highest row id of each table says how far a reader has come, and one that was away for a day goes
//! on where it was. Each call is one short transaction over the ends of the tables: it neither waits for a writer nor keeps one waiting.

use std::fmt;
use std::str::FromStr;

use search::ProgramId;
use serde::Serialize;
use sqlx::FromRow;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// How many tables are followed.
const SOURCES: usize = 7;

/// How far a reader has come. As text it is made of digits and dots only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FeedPlace([i64; SOURCES]);

impl FeedPlace {
    /// This place, or in each table the end, if it lies beyond: it was of another database.
    #[must_use]
    pub fn within(self, end: Self) -> Self {
        let mut rows = self.0;
        for (row, end) in rows.iter_mut().zip(end.0) {
            *row = end.min(*row);
        }
        Self(rows)
    }
}

impl fmt::Display for FeedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, row) in self.0.iter().enumerate() {
            write!(f, "{}{row}", if index == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}

/// This text is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an event's id; leave it out to get what happens from now on")]
pub struct NoPlace;

impl FromStr for FeedPlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let mut rows = [0; SOURCES];
        let mut parts = text.split('.');
        for row in &mut rows {
            let part = parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
            *row = part.and_then(|part| part.parse().ok()).ok_or(NoPlace)?;
        }
        if parts.next().is_some() { Err(NoPlace) } else { Ok(Self(rows)) }
    }
}

/// Something that was stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The run.
    pub run: RunId,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// What.
    #[serde(flatten)]
    pub what: What,
    /// Behind it.
    #[serde(skip)]
    pub place: FeedPlace,
}

/// What was stored. The names are those of the events of `evolve run --json`, where there is one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A run was made.
    RunCreated {
        /// For people.
        title: String,
    },
    /// A process starts to work on it, or goes on with it.
    RunStarted {
        /// Process id.
        pid: u32,
    },
    /// A reply arrived.
    Proposed {
        /// The proposal's number.
        number: ProgramId,
        /// The program it was made from.
        parent: Option<ProgramId>,
        /// The island.
        island: u64,
        /// Who proposed.
        proposer: String,
        /// How.
        operator: String,
        /// The language model, if any.
        model: Option<String>,
        /// Its price.
        cost: Option<f64>,
    },
    /// A proposal has its outcome.
    Finished {
        /// The proposal's number.
        number: ProgramId,
        /// [`search::Outcome::kind`].
        kind: String,
        /// The score, if measured.
        score: Option<f64>,
        /// The verdict, if measured.
        verdict: Option<String>,
        /// One line in plain words.
        summary: String,
    },
    /// A version of the lessons.
    Lessons {
        /// Which.
        version: u32,
        /// Why there are none.
        failure: Option<String>,
    },
    /// A program was measured against an opponent for the final report.
    Compared {
        /// The program's number.
        number: ProgramId,
        /// `baseline` or `mlx_lm`.
        opponent: String,
    },
    /// The process has ended in an orderly way.
    RunEnded {
        /// Why, in words.
        reason: String,
    },
}

impl What {
    /// Its name, as in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RunCreated { .. } => "run_created",
            Self::RunStarted { .. } => "run_started",
            Self::Proposed { .. } => "proposed",
            Self::Finished { .. } => "finished",
            Self::Lessons { .. } => "lessons",
            Self::Compared { .. } => "compared",
            Self::RunEnded { .. } => "run_ended",
        }
    }
}

/// The ends of all tables.
const ENDS: &str =
    "SELECT (SELECT coalesce(max(id), 0) FROM run), (SELECT coalesce(max(id), 0) FROM session),
    (SELECT coalesce(max(rowid), 0) FROM proposal), (SELECT coalesce(max(rowid), 0) FROM outcome),
    (SELECT coalesce(max(rowid), 0) FROM lesson), (SELECT coalesce(max(id), 0) FROM evaluation),
    (SELECT count(*) FROM session_end)";

/// In the order in which rows of one moment are told, that of [`FeedPlace`]: a proposal comes before its outcome, a session's end last.
const TABLES: [&str; SOURCES] = [
    "SELECT id AS position, id AS run, created_at AS at, 0 AS number, title AS text, NULL AS second, NULL AS third,
            NULL AS real, NULL AS other, NULL AS more FROM run WHERE id > ? ORDER BY id LIMIT ?",
    "SELECT id AS position, run_id AS run, started_at AS at, pid AS number, '' AS text, NULL AS second, NULL AS third,
            NULL AS real, NULL AS other, NULL AS more FROM session WHERE id > ? ORDER BY id LIMIT ?",
    "SELECT rowid AS position, run_id AS run, created_at AS at, number, proposer AS text, operator AS second, model AS third,
            cost AS real, parent AS other, island AS more FROM proposal WHERE rowid > ? ORDER BY rowid LIMIT ?",
    "SELECT rowid AS position, run_id AS run, created_at AS at, number, kind AS text, message AS second, verdict AS third,
            score AS real, NULL AS other, NULL AS more FROM outcome WHERE rowid > ? ORDER BY rowid LIMIT ?",
    "SELECT rowid AS position, run_id AS run, created_at AS at, version AS number, '' AS text, failure AS second, NULL AS third,
            NULL AS real, NULL AS other, NULL AS more FROM lesson WHERE rowid > ? ORDER BY rowid LIMIT ?",
    "SELECT id AS position, run_id AS run, ended_at AS at, number, '' AS text, opponent AS second, NULL AS third,
            NULL AS real, NULL AS other, NULL AS more FROM evaluation WHERE id > ? ORDER BY id LIMIT ?",
    // Sessions end in another order than they begin, so their ends are counted.
    "SELECT * FROM (
         SELECT row_number() OVER (ORDER BY ended_at, session_id) AS position, run_id AS run, ended_at AS at, 0 AS number, reason AS text,
                NULL AS second, NULL AS third, NULL AS real, NULL AS other, NULL AS more
         FROM session_end JOIN session ON session.id = session_id
     ) WHERE position > ? ORDER BY position LIMIT ?",
];

#[derive(FromRow)]
struct Row {
    position: i64,
    run: i64,
    at: i64,
    number: i64,
    text: String,
    second: Option<String>,
    third: Option<String>,
    real: Option<f64>,
    other: Option<i64>,
    more: Option<i64>,
}

impl ProgramDb {
    /// The place behind everything that is stored now.
    pub async fn feed_end(&self) -> Result<FeedPlace, DbError> {
        let ends: (i64, i64, i64, i64, i64, i64, i64) =
            sqlx::query_as(ENDS).fetch_one(self.readers()).await.map_err(self.error())?;
        Ok(FeedPlace([ends.0, ends.1, ends.2, ends.3, ends.4, ends.5, ends.6]))
    }

    /// Up to `limit` things that were stored behind a place, and the place behind them.
    pub async fn feed(&self, after: FeedPlace, limit: u32) -> Result<(Vec<Change>, FeedPlace), DbError> {
        // One transaction, so that an outcome can't be seen without its proposal.
        let mut reading = self.readers().begin().await.map_err(self.error())?;
        let mut sources = Vec::with_capacity(SOURCES);
        for (table, from) in TABLES.into_iter().zip(after.0) {
            let rows: Vec<Row> = sqlx::query_as(table)
                .bind(from)
                .bind(limit)
                .fetch_all(&mut *reading)
                .await
                .map_err(self.error())?;
            sources.push(rows.into_iter().peekable());
        }
        reading.rollback().await.map_err(self.error())?;
        let mut place = after;
        let mut changes = Vec::new();
        // Each table's own order is that of its row ids, whatever the clock did, so its reader never skips one.
        for _ in 0..limit {
            let next = sources
                .iter_mut()
                .enumerate()
                .filter_map(|(index, rows)| rows.peek().map(|row| (row.at, index)))
                .min();
            let Some((_, index)) = next else { break };
            let Some(row) = sources[index].next() else { break };
            place.0[index] = row.position;
            let (run, at) = (row.run, row.at);
            if let Some(what) = read(index, row) {
                changes.push(Change { run, at, what, place });
            }
        }
        Ok((changes, place))
    }
}

fn read(source: usize, row: Row) -> Option<What> {
    let number = ProgramId(row.number.cast_unsigned());
    Some(match source {
        0 => What::RunCreated { title: row.text },
        1 => What::RunStarted { pid: u32::try_from(row.number).unwrap_or_default() },
        2 => What::Proposed {
            number,
            parent: row.other.map(|parent| ProgramId(parent.cast_unsigned())),
            island: row.more.unwrap_or_default().cast_unsigned(),
            proposer: row.text,
            operator: row.second.unwrap_or_default(),
            model: row.third,
            cost: row.real,
        },
        3 => What::Finished {
            number,
            kind: row.text,
            score: row.real,
            verdict: row.third,
            summary: row.second.unwrap_or_default(),
        },
        4 => What::Lessons { version: u32::try_from(row.number).unwrap_or_default(), failure: row.second },
        // An evaluation of the search is told by its outcome.
        5 => What::Compared { number, opponent: row.second? },
        _ => What::RunEnded { reason: row.text },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_being_text_and_nothing_else_is_one() {
        let place = FeedPlace([1, 2, 30_000, 4, 0, 6, i64::MAX]);
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in
            ["", "1", "1.2.3.4.5.6", "1.2.3.4.5.6.7.8", "1.2.3.4.5.6.-7", "1.2.3.4.5.6.+7", "1.2.3.4.5.6.x"]
        {
            assert_eq!(text.parse::<FeedPlace>(), Err(NoPlace), "{text}");
        }
    }
}
