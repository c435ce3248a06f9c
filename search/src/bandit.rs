//! Which proposer, operator and model make the next proposal: a bandit whose arms are told by their names.
//!
//! The reward of a proposal is how far it improved on its parent, over the largest such improvement in the window; nothing
//! for one that didn't. (Normalised as in Á. Fialho, "Adaptive Operator Selection for Optimization", thesis, 2010, section 3.3.)
//! Only a window of the latest proposals counts, because what helps early in a search doesn't help late.
//! The state is the window, so it is what was told: a replay gives it back, and an arm that is new or gone is no trouble.

use std::collections::{BTreeMap, VecDeque};

use rand::{Rng, RngExt};
use serde::Deserialize;

/// The `bandit` section.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bandit {
    /// How an arm is chosen.
    pub policy: Policy,
    /// Proposals that count: the latest ones.
    pub window: usize,
    /// How much an arm's price counts against it: 0 not at all, 1 as improvement per money.
    pub cost_weight: f64,
    /// Operators to choose from with their fixed weights, by the names under which the proposer knows them. Empty: the
    /// proposer chooses.
    pub operators: BTreeMap<String, f64>,
}

impl Default for Bandit {
    fn default() -> Self {
        Self { policy: Policy::Fixed, window: 200, cost_weight: 0.5, operators: BTreeMap::new() }
    }
}

/// How an arm is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// By fixed weights: nothing is learnt.
    Fixed,
    /// Sliding-window UCB (A. Garivier and E. Moulines, "On Upper-Confidence Bound Policies for Switching Bandit
    /// Problems", ALT 2011, section 2).
    Ucb,
    /// Thompson sampling with a Beta posterior (S. Agrawal and N. Goyal, "Analysis of Thompson Sampling for the
    /// Multi-armed Bandit Problem", COLT 2012, algorithm 2, with the reward itself in place of a coin thrown by it).
    Thompson,
}

/// An arm that may be chosen, and its weight under [`Policy::Fixed`].
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// The name: a proposer's, an operator's or a model's.
    pub name: String,
    /// Its share is its weight over the sum of all.
    pub weight: f64,
}

/// The constant before the UCB's padding; Garivier and Moulines use 0.5 in their experiments (section 5).
const PADDING: f64 = 0.5;

/// The least that an arm's price counts as, in units of the mean: an arm for nothing is not infinitely good, because its programs
/// are evaluated too.
const LEAST_PRICE: f64 = 0.1;

/// One proposal's use of an arm.
#[derive(Debug, Clone)]
struct Pull {
    arm: String,
    improvement: f64,
    cost: Option<f64>,
}

/// The latest proposals of one kind of arm.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulls(VecDeque<Pull>);

/// What the window says of one arm.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    count: f64,
    reward: f64,
    cost: f64,
    priced: f64,
}

impl Pulls {
    /// Notes what came of an arm. `improvement` is the score over the parent's, if it was measured.
    pub(crate) fn note(&mut self, window: usize, arm: &str, improvement: Option<f64>, cost: Option<f64>) {
        if self.0.len() == window.max(1) {
            self.0.pop_front();
        }
        // The difference of two finite scores may be infinite.
        let improvement = improvement.map_or(0.0, |value| value.clamp(0.0, f64::MAX));
        self.0.push_back(Pull { arm: arm.to_owned(), improvement, cost });
    }

    /// Chooses among the arms that there are today; none if there are none.
    pub(crate) fn choose<'a>(&self, arms: &'a [Arm], bandit: &Bandit, rng: &mut impl Rng) -> Option<&'a str> {
        if arms.is_empty() {
            return None;
        }
        let index = match bandit.policy {
            Policy::Fixed => by_weight(arms, rng)?,
            Policy::Ucb => self.best(arms, bandit, rng, |record, total, price, _| {
                if record.count == 0.0 {
                    // Everything is tried once.
                    return f64::INFINITY;
                }
                record.reward / record.count / price + (PADDING * total.max(1.0).ln() / record.count).sqrt()
            })?,
            Policy::Thompson => self.best(arms, bandit, rng, |record, _, price, rng| {
                beta(1.0 + record.reward, 1.0 + record.count - record.reward, rng) / price
            })?,
        };
        Some(&arms[index].name)
    }

    /// The arm with the highest index, which is given its price in units of the mean arm's; of equal ones any. Only what an arm
    /// gives is divided by its price: what is left to learn of a dear arm is worth as much as of a cheap one.
    fn best<R: Rng>(
        &self,
        arms: &[Arm],
        bandit: &Bandit,
        rng: &mut R,
        index: impl Fn(Record, f64, f64, &mut R) -> f64,
    ) -> Option<usize> {
        let records = self.records(arms);
        let total: f64 = records.iter().map(|record| record.count).sum();
        let costs = || records.iter().filter(|record| record.priced > 0.0).map(|it| it.cost / it.priced);
        let mean = costs().sum::<f64>() / (costs().count() as f64).max(1.0);
        let mut best: Option<(f64, f64, usize)> = None;
        for (at, record) in records.iter().copied().enumerate() {
            let price =
                if record.priced > 0.0 && mean > 0.0 { record.cost / record.priced / mean } else { 1.0 };
            let value = index(record, total, price.max(LEAST_PRICE).powf(bandit.cost_weight), rng);
            let tie = rng.random::<f64>();
            if best.is_none_or(|(most, other, _)| (value, tie) > (most, other)) {
                best = Some((value, tie, at));
            }
        }
        best.map(|(_, _, at)| at)
    }

    fn records(&self, arms: &[Arm]) -> Vec<Record> {
        let largest = self.0.iter().map(|pull| pull.improvement).fold(0.0, f64::max);
        let mut records = vec![Record::default(); arms.len()];
        for pull in &self.0 {
            let Some(at) = arms.iter().position(|arm| arm.name == pull.arm) else { continue };
            records[at].count += 1.0;
            records[at].reward += if largest > 0.0 { pull.improvement / largest } else { 0.0 };
            if let Some(cost) = pull.cost {
                records[at].cost += cost;
                records[at].priced += 1.0;
            }
        }
        records
    }
}

fn by_weight(arms: &[Arm], rng: &mut impl Rng) -> Option<usize> {
    let total: f64 = arms.iter().map(|arm| arm.weight).sum();
    let mut left = rng.random::<f64>() * total;
    let drawn = arms.iter().position(|arm| {
        left -= arm.weight;
        left < 0.0
    });
    // Rounding may leave a crumb past the last weight.
    drawn.or_else(|| arms.iter().rposition(|arm| arm.weight > 0.0))
}

/// A draw from a Beta distribution, both parameters at least 1: by two Gamma draws.
fn beta(a: f64, b: f64, rng: &mut impl Rng) -> f64 {
    let (x, y) = (gamma(a, rng), gamma(b, rng));
    x / (x + y)
}

/// A draw from a Gamma distribution with shape at least 1 (G. Marsaglia and W. Tsang, "A Simple Method for Generating Gamma
/// Variables", 2000, section 4). By hand, because `rand_distr` doesn't promise the same draws in its next version.
fn gamma(shape: f64, rng: &mut impl Rng) -> f64 {
    let scale = shape - 1.0 / 3.0;
    let width = 1.0 / (9.0 * scale).sqrt();
    loop {
        let x = normal(rng);
        let cube = (1.0 + width * x).powi(3);
        let draw: f64 = rng.random();
        if cube > 0.0 && draw.ln() < 0.5 * x * x + scale - scale * cube + scale * cube.ln() {
            return scale * cube;
        }
    }
}

/// A standard normal draw (Box and Muller).
fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn arms(names: &[&str]) -> Vec<Arm> {
        names.iter().map(|name| Arm { name: (*name).to_owned(), weight: 1.0 }).collect()
    }

    /// How often each arm is chosen in 400 rounds, where `draw` says what an arm gives.
    fn play(
        policy: Policy,
        cost_weight: f64,
        draw: impl Fn(&str, u64) -> (f64, f64),
    ) -> BTreeMap<String, u64> {
        let bandit = Bandit { policy, cost_weight, window: 100, ..Bandit::default() };
        let arms = arms(&["good", "bad"]);
        let mut pulls = Pulls::default();
        let mut counts = BTreeMap::new();
        for round in 0..400 {
            let mut rng = ChaCha8Rng::seed_from_u64(round);
            let arm = pulls.choose(&arms, &bandit, &mut rng).unwrap().to_owned();
            let (chance, cost) = draw(&arm, round);
            let improvement = rng.random_bool(chance).then_some(1.0);
            pulls.note(bandit.window, &arm, improvement, Some(cost));
            *counts.entry(arm).or_default() += 1;
        }
        counts
    }

    #[test]
    fn the_better_arm_is_chosen_more_and_the_other_is_still_tried() {
        for policy in [Policy::Ucb, Policy::Thompson] {
            let counts = play(policy, 0.0, |arm, _| (if arm == "good" { 0.5 } else { 0.1 }, 1.0));
            assert!(counts["good"] > 2 * counts["bad"] && counts["bad"] > 5, "{policy:?}: {counts:?}");
        }
    }

    #[test]
    fn a_window_forgets_so_that_a_change_is_noticed() {
        for policy in [Policy::Ucb, Policy::Thompson] {
            let counts = play(policy, 0.0, |arm, round| {
                (if (arm == "good") == (round < 200) { 0.6 } else { 0.05 }, 1.0)
            });
            assert!(counts.values().all(|count| *count > 100), "{policy:?}: {counts:?}");
        }
    }

    #[test]
    fn of_two_arms_as_good_the_cheaper_is_chosen() {
        for policy in [Policy::Ucb, Policy::Thompson] {
            let counts = play(policy, 1.0, |arm, _| (0.3, if arm == "good" { 1.0 } else { 10.0 }));
            assert!(counts["good"] > 3 * counts["bad"], "{policy:?}: {counts:?}");
        }
    }

    #[test]
    fn an_arm_for_nothing_that_gives_nothing_is_not_preferred() {
        for policy in [Policy::Ucb, Policy::Thompson] {
            let counts = play(policy, 0.5, |arm, _| if arm == "good" { (0.5, 1.0) } else { (0.0, 0.0) });
            assert!(counts["good"] > counts["bad"], "{policy:?}: {counts:?}");
        }
    }

    #[test]
    fn fixed_weights_are_kept_whatever_happens() {
        let arms = [
            Arm { name: "a".into(), weight: 3.0 },
            Arm { name: "b".into(), weight: 1.0 },
            Arm { name: "c".into(), weight: 0.0 },
        ];
        let pulls = Pulls::default();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let count = |name: &str, chosen: &[&str]| chosen.iter().filter(|it| **it == name).count();
        let chosen: Vec<&str> =
            (0..4000).map(|_| pulls.choose(&arms, &Bandit::default(), &mut rng).unwrap()).collect();
        assert!((2900..3100).contains(&count("a", &chosen)));
        assert_eq!(count("c", &chosen), 0);
    }

    #[test]
    fn a_new_arm_is_tried_and_one_that_is_gone_is_no_trouble() {
        let bandit = Bandit { policy: Policy::Ucb, ..Bandit::default() };
        let mut pulls = Pulls::default();
        for _ in 0..20 {
            pulls.note(200, "gone", Some(1.0), None);
            pulls.note(200, "old", Some(1.0), None);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(pulls.choose(&arms(&["old", "new"]), &bandit, &mut rng), Some("new"));
        assert_eq!(pulls.choose(&[], &bandit, &mut rng), None);
    }
}
