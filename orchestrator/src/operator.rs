//! What a model may be asked to do with a program.

use search::{CROSSOVER, REPAIR};

use crate::patch::Form;
use crate::proposer::Request;

/// One thing that a model is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Change the parent, by SEARCH/REPLACE blocks.
    Edit,
    /// Change the parent, and answer with the whole program.
    FullRewrite,
    /// Make one program of the parent and another one.
    Crossover,
    /// Mend a failed child of the parent.
    Repair,
    /// Make the parent shorter without changing what it does.
    Simplify,
}

/// How often search asks for an operator, relative to the others, where the configuration doesn't say.
const WEIGHTS: [(Operator, f64); 4] = [
    (Operator::Edit, 6.0),
    (Operator::FullRewrite, 1.0),
    (Operator::Crossover, 2.0),
    (Operator::Simplify, 1.0),
];

impl Operator {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Edit, Self::FullRewrite, Self::Crossover, Self::Repair, Self::Simplify];

    /// The name in configurations and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Edit => "edit",
            Self::FullRewrite => "full_rewrite",
            Self::Crossover => CROSSOVER,
            Self::Repair => REPAIR,
            Self::Simplify => "simplify",
        }
    }

    /// The operator of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operator| operator.name() == name)
    }

    /// Names and weights where the configuration says nothing: mostly edits, or, where whole programs are wanted, these.
    pub fn default_weights(diff_based: bool) -> impl Iterator<Item = (&'static str, f64)> {
        WEIGHTS.into_iter().filter_map(move |(operator, weight)| match operator {
            Self::Edit => diff_based.then_some((operator.name(), weight)),
            Self::FullRewrite if !diff_based => Some((operator.name(), weight + WEIGHTS[0].1)),
            _ => Some((operator.name(), weight)),
        })
    }

    /// The one that a request asks for, if it brings what that needs; else a plain change.
    pub fn of(request: &Request, diff_based: bool) -> Self {
        let plain = if diff_based { Self::Edit } else { Self::FullRewrite };
        match request.guidance.operator.as_deref().and_then(Self::named) {
            Some(Self::Crossover) if request.partner.is_none() => plain,
            Some(Self::Repair) if request.repair.is_none() => plain,
            Some(operator) => operator,
            None => plain,
        }
    }

    /// What the answer should look like.
    pub fn form(self, diff_based: bool) -> Form {
        match self {
            Self::Edit => Form::Edits,
            Self::Repair | Self::Simplify if diff_based => Form::Edits,
            Self::FullRewrite | Self::Crossover | Self::Repair | Self::Simplify => Form::FullRewrite,
        }
    }
}
