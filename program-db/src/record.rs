//! What a run stores as it goes, several at once.

use search::{Outcome, ProgramId};

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::evaluation::{NewEvaluation, insert_whole};
use crate::lesson::{NewLesson, insert_lesson};
use crate::outcome::insert_outcome;
use crate::proposal::{NewProposal, insert_proposal};
use crate::run::RunId;

/// Something that is finished and is to be stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// As by [`ProgramDb::store_proposal`].
    Proposal(Box<NewProposal>),
    /// As by [`ProgramDb::store_outcome`].
    Outcome {
        /// Whose.
        number: ProgramId,
        /// How it ended.
        outcome: Outcome,
    },
    /// As by [`ProgramDb::store_evaluation`].
    Evaluation {
        /// Whose.
        number: ProgramId,
        /// What was found.
        evaluation: Box<NewEvaluation>,
    },
    /// As by [`ProgramDb::store_lesson`].
    Lesson(Box<NewLesson>),
}

impl ProgramDb {
    /// Stores all of these in one transaction: all or none. A commit waits for the disk, whatever is in it, so what is there at
    /// the same time had better share one.
    ///
    /// # Errors
    /// That of the first which can't be stored, as the call for it alone would return.
    pub async fn store(&self, run: RunId, records: &[Record]) -> Result<(), DbError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut write = self.begin().await?;
        for record in records {
            let connection = write.connection();
            match record {
                Record::Proposal(proposal) => insert_proposal(self, connection, run, proposal).await?,
                Record::Outcome { number, outcome } => {
                    insert_outcome(self, connection, run, *number, outcome, None).await?;
                }
                Record::Evaluation { number, evaluation } => {
                    insert_whole(self, connection, run, *number, evaluation).await?;
                }
                Record::Lesson(lesson) => insert_lesson(self, connection, run, lesson).await?,
            }
        }
        write.commit().await
    }
}
