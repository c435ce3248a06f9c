//! OpenEvolve's checkpoints: a folder with `metadata.json`, `programs/<id>.json` and the best program.
//!
//! [`read`] takes one in as far as it is readable, [`plan`] makes a run of it, [`write`] makes one of a run.

pub mod plan;
pub mod read;
pub mod write;

use std::path::Path;

use program_db::{DbError, MeasuredBy, ProgramDb, RunId};
use search::ProgramId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::commands::storage;
use crate::exit_code::Failure;

/// The protocol's name of programs that were measured there; its parameters are an [`Origin`].
pub const PROTOCOL: &str = "openevolve";

/// What an imported program was there. Kept, because the numbers of a run are its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Its id.
    pub id: String,
    /// Its parent's id; the parent may not be in the checkpoint.
    pub parent_id: Option<String>,
    /// Its generation, counted over parents that are gone too.
    pub generation: u32,
    /// The iteration that found it.
    pub iteration: u64,
    /// Whatever else was noted of it.
    pub metadata: Value,
}

/// How a program is called outside the database.
#[derive(Debug, Clone, PartialEq)]
pub struct Names {
    /// As where it comes from, else [`name`].
    pub id: String,
    /// Its parent's, if that is known from where it comes.
    pub parent_id: Option<String>,
    /// As where it comes from.
    pub generation: Option<u32>,
    /// As where it comes from.
    pub iteration: Option<u64>,
    /// As where it comes from.
    pub metadata: Option<Value>,
}

impl Names {
    /// Looks a program up.
    pub async fn of(db: &ProgramDb, run: RunId, number: ProgramId) -> Result<Self, Failure> {
        let evaluation = match db.evaluation(run, number).await {
            Ok(evaluation) => evaluation,
            Err(DbError::NoSuchProgram { .. }) => None,
            Err(error) => return Err(storage(error)),
        };
        Ok(match evaluation.and_then(|evaluation| origin(&evaluation.measured_by)) {
            Some(Origin { id, parent_id, generation, iteration, metadata }) => Self {
                id,
                parent_id,
                generation: Some(generation),
                iteration: Some(iteration),
                metadata: Some(metadata),
            },
            None => {
                Self { id: name(number), parent_id: None, generation: None, iteration: None, metadata: None }
            }
        })
    }
}

fn origin(measured_by: &MeasuredBy) -> Option<Origin> {
    let is_imported = measured_by.protocol == PROTOCOL;
    is_imported.then(|| serde_json::from_value(measured_by.parameters.clone()).ok()).flatten()
}

/// The name of a program that has none of its own.
pub fn name(number: ProgramId) -> String {
    format!("program-{number}")
}

/// `.py` of `initial_program.py`; OpenEvolve's default without one.
pub fn extension(initial: &Path) -> String {
    initial.extension().map_or_else(|| ".py".to_owned(), |ending| format!(".{}", ending.to_string_lossy()))
}
