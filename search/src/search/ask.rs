//! What to propose next.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Search;
use crate::entry::Slot;
use crate::program::ProgramId;
use crate::repair::REPAIR;
use crate::select::{self, Pool};
use crate::tune::{PROBE, TUNE};

/// The operator of a proposal that recombines two programs.
pub const CROSSOVER: &str = "crossover";

/// What to propose next.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// The proposal's number, which becomes the program's.
    pub number: u64,
    /// The island that the program is made for.
    pub island: usize,
    /// The program to start from.
    pub parent: ProgramId,
    /// Other programs worth a look, best first; never the parent, none twice.
    pub inspirations: Vec<ProgramId>,
    /// Those of the inspirations that were chosen because they differ from the others, not because they are good.
    pub different: Vec<ProgramId>,
    /// The other parent, if the operator is [`CROSSOVER`]: a program of any island with other code, an elite if there is one.
    pub partner: Option<ProgramId>,
    /// The failed proposal that is to be mended; it was made from the parent. Then the operator is [`REPAIR`].
    pub repair: Option<ProgramId>,
    /// How much more than usual to change, 0 for as usual.
    pub widening: u32,
    /// Who is to propose; none: there is no choice.
    pub proposer: Option<String>,
    /// The operator to use, if the proposer has it; none: the proposer's choice.
    pub operator: Option<String>,
    /// The model to ask, if the proposer asks one; none: the proposer's choice.
    pub model: Option<String>,
    /// Values for the parent's marked numbers: nothing else is to be changed. Then the operator is [`TUNE`].
    pub tune: Option<Vec<f64>>,
    /// Change one number of the parent that has no mark, mark it, and leave the rest. Then the operator is [`PROBE`].
    pub probe: bool,
    /// For everything random that the proposer does.
    pub seed: u64,
}

impl Ask {
    /// To change this program, and nothing else said.
    fn of(number: u64, island: usize, parent: ProgramId, seed: u64) -> Self {
        Self {
            number,
            island,
            parent,
            inspirations: Vec::new(),
            different: Vec::new(),
            partner: None,
            repair: None,
            widening: 0,
            proposer: None,
            operator: None,
            model: None,
            tune: None,
            probe: false,
            seed,
        }
    }
}

impl Search {
    /// What to propose as number `number`: a pure function of this search's state and the number. None as long as
    /// the initial program's outcome wasn't told, because there is nothing to start from.
    pub fn ask(&self, number: u64) -> Option<Ask> {
        let initial = self.initial?;
        // A stream of its own for each number: what one ask draws doesn't touch another's.
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(number);
        let seed = rng.random();
        let island = self.islands.of(number, &mut rng);
        let since = self.islands.get(island).since();
        let mut ask = Ask::of(number, island, initial, seed);
        ask.widening = self.islands.stagnation().widening(since);
        if let Some(broken) = self.repairs.next(&self.config.repair, self.told(), &mut rng) {
            ask.parent = broken.parent;
            // Unless its island was given up meanwhile.
            let home = self.islands.existing(broken.island);
            if !self.islands.get(home).is_retired() {
                ask.island = home;
            }
            ask.widening = 0;
            ask.proposer = Some(broken.proposer.clone());
            ask.operator = Some(REPAIR.to_owned());
            ask.repair = Some(broken.id);
            self.arms.choose_model(&self.config.bandit, &mut ask, &mut rng);
            return Some(ask);
        }
        if let Some((slot, values)) = self.tune(island, &mut rng) {
            ask.parent = self.entries.get(slot).id;
            ask.operator = Some(if values.is_some() { TUNE } else { PROBE }.to_owned());
            ask.probe = values.is_none();
            ask.tune = values;
            return Some(ask);
        }
        self.arms.choose(&self.config.bandit, &mut ask, &mut rng);
        self.choose_programs(&mut ask, &mut rng);
        if ask.operator.as_deref() == Some(CROSSOVER) {
            ask.partner = self.partner(ask.parent, &mut rng);
        }
        Some(ask)
    }

    /// What to propose from this parent, if it is a measured program: as an ask that happened to draw it. For people who want to
    /// see what a proposer would be given.
    pub fn ask_from(&self, number: u64, parent: ProgramId) -> Option<Ask> {
        let slot = self.slot(parent)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(number);
        let island = self.islands.existing(self.entries.get(slot).island);
        let mut ask = Ask::of(number, island, parent, rng.random());
        self.choose_inspirations(&mut ask, slot, &mut rng);
        ask.partner = self.partner(parent, &mut rng);
        Some(ask)
    }

    /// The parent and what is shown beside it.
    fn choose_programs(&self, ask: &mut Ask, rng: &mut ChaCha8Rng) {
        let pool = self.pool(ask.island);
        if pool.population.is_empty() {
            // An island that has just begun: wide changes of what is known, and no look at others.
            if let Some(slot) = self.islands.any_elite(rng).filter(|_| ask.island > 0) {
                ask.parent = self.entries.get(slot).id;
                ask.widening = self.config.stagnation.max_widening;
            }
            return;
        }
        let Some(parent) = select::parent(pool, &self.config, rng) else { return };
        ask.parent = self.entries.get(parent).id;
        self.choose_inspirations(ask, parent, rng);
    }

    fn choose_inspirations(&self, ask: &mut Ask, parent: Slot, rng: &mut ChaCha8Rng) {
        let ancestors = self.ancestors(parent);
        let shown = select::inspirations(self.pool(ask.island), parent, &ancestors, &self.config, rng);
        let id = |slot: &Slot| self.entries.get(*slot).id;
        ask.inspirations = shown.all.iter().map(id).collect();
        ask.different = shown.different.iter().map(id).collect();
    }

    /// An elite of any island with other code than the parent's; if there is none, any other program.
    fn partner(&self, parent: ProgramId, rng: &mut ChaCha8Rng) -> Option<ProgramId> {
        let hash = self.get(parent)?.hash;
        let islands = self.islands.all();
        let others = |list: &mut dyn Iterator<Item = Slot>| -> Vec<Slot> {
            list.filter(|slot| self.entries.get(*slot).hash != hash).collect()
        };
        let mut found = others(&mut islands.iter().flat_map(|island| island.elites().iter().copied()));
        if found.is_empty() {
            found = others(&mut islands.iter().flat_map(|island| island.population().iter().copied()));
        }
        let drawn = found.get((rng.random::<f64>() * found.len() as f64) as usize)?;
        Some(self.entries.get(*drawn).id)
    }

    fn pool(&self, island: usize) -> Pool<'_> {
        let island = self.islands.get(island);
        Pool {
            entries: &self.entries,
            population: island.population(),
            elites: island.elites(),
            front: island.front(),
            stagnation: self.islands.stagnation().degree(island.since()),
        }
    }

    /// The program's parent, that one's parent, and so on: one for every four inspirations.
    fn ancestors(&self, slot: Slot) -> Vec<Slot> {
        let parent = |slot: Slot| self.entries.get(slot).parent.and_then(|id| self.slot(id));
        std::iter::successors(parent(slot), |slot| parent(*slot))
            .take(self.config.num_inspirations.div_ceil(4))
            .collect()
    }

    /// In its share of the proposals: the best program of the island with marked numbers (its own, or its probes'), and values
    /// for these. Or the best program without values: it is to be probed. That takes every other one of these proposals
    /// as long as there is something to tune, else all.
    fn tune(&self, island: usize, rng: &mut ChaCha8Rng) -> Option<(Slot, Option<Vec<f64>>)> {
        let find = self.config.tune.find;
        if (self.tunings.is_empty() && !find) || rng.random::<f64>() >= self.config.tune.share {
            return None;
        }
        let elites = self.islands.get(island).elites();
        let best = elites.first().filter(|slot| find && self.probes.has_room(self.entries.get(**slot).id));
        let probe = best.map(|slot| (*slot, None));
        if probe.is_some() && (self.tunings.is_empty() || rng.random::<bool>()) {
            return probe;
        }
        let carriers = elites.iter().flat_map(|slot| std::iter::once(*slot).chain(self.probes.of(*slot)));
        let tuned = carriers.into_iter().find_map(|slot| {
            let tunable = self.entries.get(slot).tunable.as_deref()?;
            Some((slot, Some(self.tunings.suggest(tunable, self.config.tune.warm_up, rng)?)))
        });
        tuned.or(probe)
    }
}
