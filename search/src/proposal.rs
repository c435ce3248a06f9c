//! What became of an ask: who made it from what, and the code it led to.

use crate::fingerprint::Fingerprint;
use crate::program::{Language, Program, ProgramId};

/// A proposal as search sees it when its outcome is told. All of it stands in the proposal's row, so that a replay can
/// tell it again.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Number within the run.
    pub id: ProgramId,
    /// The program it was made from; none for the initial program.
    pub parent: Option<ProgramId>,
    /// The island it was asked for.
    pub island: usize,
    /// Lineage depth: the initial program is 0, a child is its parent's plus one.
    pub generation: u32,
    /// The code; none if the proposal led to no program.
    pub code: Option<Fingerprint>,
    /// Who made it, by the proposer's name.
    pub proposer: String,
    /// What was done, as the proposer names it.
    pub operator: String,
    /// The model that answered.
    pub model: Option<String>,
    /// What it cost.
    pub cost: Option<f64>,
    /// The failed proposal that it mends, if it is a repair.
    pub repairs: Option<ProgramId>,
}

impl Proposal {
    /// A program of which nobody says who made it.
    pub fn of_program(program: &Program, language: Language) -> Self {
        Self {
            id: program.id,
            parent: program.parent,
            island: program.island,
            generation: program.generation,
            code: Some(Fingerprint::of(&program.source, language)),
            proposer: String::new(),
            operator: String::new(),
            model: None,
            cost: None,
            repairs: None,
        }
    }
}
