//! The bandit's three kinds of arms, proposers, operators and models, and what was told of each.

use rand::Rng;

use crate::bandit::{Arm, Bandit, Pulls};
use crate::proposal::Proposal;
use crate::repair::REPAIR;
use crate::search::Ask;
use crate::tune::{PROBE, TUNE};

/// Each kind is learnt apart from the others: all combinations would be too many to learn from few proposals.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arms {
    operators: Vec<Arm>,
    pub(crate) models: Vec<Arm>,
    pub(crate) proposers: Vec<Arm>,
    by_operator: Pulls,
    by_model: Pulls,
    by_proposer: Pulls,
}

impl Arms {
    pub(crate) fn new(bandit: &Bandit) -> Self {
        let operators = bandit
            .operators
            .iter()
            .map(|(name, weight)| Arm { name: name.clone(), weight: *weight })
            .collect();
        Self { operators, ..Self::default() }
    }

    /// Names the proposer, the operator and the model of an ask, where there is a choice.
    pub(crate) fn choose(&self, bandit: &Bandit, ask: &mut Ask, rng: &mut impl Rng) {
        ask.operator = self.by_operator.choose(&self.operators, bandit, rng).map(str::to_owned);
        ask.model = self.by_model.choose(&self.models, bandit, rng).map(str::to_owned);
        ask.proposer = self.by_proposer.choose(&self.proposers, bandit, rng).map(str::to_owned);
    }

    /// Names the model of an ask whose operator and proposer are given.
    pub(crate) fn choose_model(&self, bandit: &Bandit, ask: &mut Ask, rng: &mut impl Rng) {
        ask.model = self.by_model.choose(&self.models, bandit, rng).map(str::to_owned);
    }

    /// Takes in what came of a proposal.
    pub(crate) fn note(&mut self, bandit: &Bandit, proposal: &Proposal, improvement: Option<f64>) {
        // The initial program was nobody's choice, and tuning has a share of its own.
        if proposal.parent.is_none() || proposal.operator == TUNE || proposal.operator == PROBE {
            return;
        }
        // Repairs have a share of their own; which model and which proposer mend well counts.
        if !proposal.operator.is_empty() && proposal.operator != REPAIR {
            // A proposer may name several steps, the one that was asked for first: `literals + crossover`.
            let operator = proposal.operator.split(" + ").next().unwrap_or_default();
            self.by_operator.note(bandit.window, operator, improvement, proposal.cost);
        }
        if let Some(model) = &proposal.model {
            self.by_model.note(bandit.window, model, improvement, proposal.cost);
        }
        if !proposal.proposer.is_empty() {
            // Who asks no model costs nothing; what a model without a price costs isn't known.
            let cost = proposal.cost.or(proposal.model.is_none().then_some(0.0));
            self.by_proposer.note(bandit.window, &proposal.proposer, improvement, cost);
        }
    }
}
