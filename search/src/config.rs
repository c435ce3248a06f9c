//! Settings of a search. Keys that mean what OpenEvolve's mean are named as OpenEvolve names them.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::bandit::Bandit;
use crate::early_stopping::EarlyStopping;
use crate::exchange::Topology;
use crate::feature::Dimension;
use crate::novelty::Novelty;
use crate::repair::{REPAIR, Repair};
use crate::selection::Selection;
use crate::stagnation::Stagnation;
use crate::tune::Tune;

/// Most cells a grid may have.
const MAX_CELLS: u64 = 1_000_000;

/// Settings of a search: the `search:` section of a configuration. Unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchConfig {
    /// Sub-populations that evolve apart but for exchanges. The search begins with so many; `stagnation` may add more.
    pub num_islands: usize,
    /// Programs that parents are drawn from, over all islands. When an island is full, the worst program that
    /// holds no cell leaves it; holders never do, so that an island with more cells than room is larger than this.
    pub population_size: usize,
    /// Best elites of an island that exploitation draws from, on each island.
    pub archive_size: usize,
    /// How parents are chosen.
    pub selection: Selection,
    /// In the mixture: share of parents drawn uniformly from the island.
    pub exploration_ratio: f64,
    /// In the mixture: share of parents drawn uniformly from the island's archive. What the two leave is drawn weighted by score.
    pub exploitation_ratio: f64,
    /// Programs shown to a proposer beside the parent.
    pub num_inspirations: usize,
    /// Share of the inspirations that are the island's best (rounded up); the rest are an ancestor and programs
    /// that differ much from the parent.
    pub elite_selection_ratio: f64,
    /// What the axes of the grid measure: `complexity` (tokens), `diversity` (distance from the first programs),
    /// `score`, or any metric the evaluator returns.
    pub feature_dimensions: Vec<String>,
    /// Bins along each axis: a number for all, or a number by name.
    pub feature_bins: FeatureBins,
    /// Programs that diversity is measured against: the first ones measured.
    pub diversity_reference_size: usize,
    /// Outcomes told to an island between two exchanges; 0: no exchange.
    pub exchange_interval: u64,
    /// To whom an island passes elites on. An island that still improves receives none (see `stagnation`).
    pub exchange_topology: Topology,
    /// Share of an island's elites that it passes on in an exchange (rounded up).
    pub exchange_rate: f64,
    /// Standard errors by which a noisy score is lowered before programs are compared. Only where the evaluator says
    /// how noisy a score is.
    pub score_caution: f64,
    /// What an island does that finds nothing better.
    pub stagnation: Stagnation,
    /// When the run ends because nothing better is found; absent: never.
    pub early_stopping: Option<EarlyStopping>,
    /// What is too much like an earlier program.
    pub novelty: Novelty,
    /// How proposers, operators and models are chosen.
    pub bandit: Bandit,
    /// How marked numbers are tuned.
    pub tune: Tune,
    /// What is mended.
    pub repair: Repair,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            num_islands: 1,
            population_size: 1000,
            archive_size: 100,
            selection: Selection::default(),
            exploration_ratio: 0.2,
            exploitation_ratio: 0.7,
            num_inspirations: 4,
            elite_selection_ratio: 0.1,
            feature_dimensions: vec!["complexity".into(), "diversity".into()],
            feature_bins: FeatureBins::All(10),
            diversity_reference_size: 20,
            exchange_interval: 50,
            exchange_topology: Topology::default(),
            exchange_rate: 0.1,
            score_caution: 1.0,
            stagnation: Stagnation::default(),
            early_stopping: None,
            novelty: Novelty::default(),
            bandit: Bandit::default(),
            tune: Tune::default(),
            repair: Repair::default(),
        }
    }
}

/// Bins along the axes of the grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureBins {
    /// As many along every axis.
    All(usize),
    /// By the name of the dimension; [`FeatureBins::DEFAULT`] for those not named.
    ByName(BTreeMap<String, usize>),
}

impl FeatureBins {
    /// Bins along an axis for which none are named.
    pub const DEFAULT: usize = 10;

    /// Bins along the axis of this name.
    pub fn along(&self, name: &str) -> usize {
        match self {
            Self::All(bins) => *bins,
            Self::ByName(by_name) => by_name.get(name).copied().unwrap_or(Self::DEFAULT),
        }
    }
}

// By hand, because serde's untagged enums only say that "no variant matched".
impl<'de> Deserialize<'de> for FeatureBins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bins;

        impl<'de> Visitor<'de> for Bins {
            type Value = FeatureBins;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bins, or a map from feature dimension to number of bins")
            }

            fn visit_u64<E: de::Error>(self, bins: u64) -> Result<FeatureBins, E> {
                usize::try_from(bins).map(FeatureBins::All).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, bins: i64) -> Result<FeatureBins, E> {
                usize::try_from(bins).map(FeatureBins::All).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FeatureBins, A::Error> {
                let mut by_name = BTreeMap::new();
                while let Some((name, bins)) = map.next_entry::<String, usize>()? {
                    by_name.insert(name, bins);
                }
                Ok(FeatureBins::ByName(by_name))
            }
        }

        deserializer.deserialize_any(Bins)
    }
}

/// A setting that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` {problem}")]
pub struct ConfigError {
    /// The key, as it is written in a configuration.
    pub key: &'static str,
    /// What is wrong with its value, and what would do.
    pub problem: String,
}

impl SearchConfig {
    /// Checks every key, and those that depend on each other.
    pub fn check(&self) -> Result<(), ConfigError> {
        at_least_one("num_islands", self.num_islands)?;
        at_least_one("archive_size", self.archive_size)?;
        at_least_one("diversity_reference_size", self.diversity_reference_size)?;
        if self.population_size < self.num_islands {
            return Err(wrong(
                "population_size",
                format!(
                    "must be at least `num_islands` ({}), not {}: every island needs room for a program",
                    self.num_islands, self.population_size
                ),
            ));
        }
        share("exploration_ratio", self.exploration_ratio)?;
        share("exploitation_ratio", self.exploitation_ratio)?;
        share("elite_selection_ratio", self.elite_selection_ratio)?;
        share("exchange_rate", self.exchange_rate)?;
        let sum = self.exploration_ratio + self.exploitation_ratio;
        // Written decimals may add up to a hair above 1 (0.3 + 0.7 doesn't, but 0.1 + 0.2 + ... can).
        if sum > 1.0 + 1e-9 {
            return Err(wrong(
                "exploitation_ratio",
                format!("and `exploration_ratio` must add up to at most 1, not {sum}"),
            ));
        }
        self.check_selection()?;
        self.check_rest()?;
        self.check_grid()
    }

    fn check_selection(&self) -> Result<(), ConfigError> {
        match &self.selection {
            Selection::Adaptive { least, most } => {
                share("selection.adaptive.least", *least)?;
                share("selection.adaptive.most", *most)
            }
            Selection::PowerLaw { exponent } => at_least("selection.power_law.exponent", *exponent, 0.0),
            Selection::Weighted { sharpness } => at_least("selection.weighted.sharpness", *sharpness, 0.0),
            Selection::Tournament { size } => at_least_one("selection.tournament.size", *size),
            Selection::Pareto { objectives } => {
                let key = "selection.pareto.objectives";
                if objectives.len() < 2 {
                    return Err(wrong(key, "must name at least two".into()));
                }
                for (position, objective) in objectives.iter().enumerate() {
                    if objectives[..position].iter().any(|other| other.metric == objective.metric) {
                        return Err(wrong(key, format!("names {} twice", objective.metric)));
                    }
                }
                Ok(())
            }
            Selection::Mixture | Selection::Independent | Selection::Sequential => Ok(()),
        }
    }

    fn check_rest(&self) -> Result<(), ConfigError> {
        at_least("score_caution", self.score_caution, 0.0)?;
        at_least_one("stagnation.max_islands", self.stagnation.max_islands)?;
        if self.stagnation.max_widening > 10 {
            return Err(wrong(
                "stagnation.max_widening",
                format!("must be at most 10, not {}", self.stagnation.max_widening),
            ));
        }
        if let Some(early_stopping) = &self.early_stopping {
            if early_stopping.patience == 0 {
                return Err(wrong("early_stopping.patience", "must be at least 1".into()));
            }
            at_least("early_stopping.min_improvement", early_stopping.min_improvement, 0.0)?;
        }
        share("novelty.max_similarity", self.novelty.max_similarity)?;
        if self.novelty.retries > 10 {
            return Err(wrong(
                "novelty.retries",
                format!("must be at most 10, not {}", self.novelty.retries),
            ));
        }
        at_least_one("bandit.window", self.bandit.window)?;
        share("bandit.cost_weight", self.bandit.cost_weight)?;
        let weights = &self.bandit.operators;
        for (name, weight) in weights {
            if !(weight.is_finite() && *weight >= 0.0) {
                return Err(wrong(
                    "bandit.operators",
                    format!("must have weights of 0 or more, and {name} has {weight}"),
                ));
            }
        }
        if !weights.is_empty() && weights.values().all(|weight| *weight == 0.0) {
            return Err(wrong("bandit.operators", "must have a weight above 0".into()));
        }
        if weights.contains_key(REPAIR) {
            let problem = "can't have `repair`, which has a share of its own: `repair.share`";
            return Err(wrong("bandit.operators", problem.into()));
        }
        share("repair.share", self.repair.share)?;
        share("repair.limit", self.repair.limit)?;
        share("tune.share", self.tune.share)
    }

    fn check_grid(&self) -> Result<(), ConfigError> {
        let names = &self.feature_dimensions;
        if names.is_empty() {
            return Err(wrong(
                "feature_dimensions",
                "must name at least one, e.g. [complexity, diversity]".into(),
            ));
        }
        for (position, name) in names.iter().enumerate() {
            if name.trim().is_empty() {
                return Err(wrong("feature_dimensions", "must not hold an empty name".into()));
            }
            if names[..position].contains(name) {
                return Err(wrong("feature_dimensions", format!("names {name} twice")));
            }
        }
        if let FeatureBins::ByName(by_name) = &self.feature_bins
            && let Some(stranger) = by_name.keys().find(|name| !names.contains(name))
        {
            return Err(wrong(
                "feature_bins",
                format!("has bins for {stranger}, which is not one of `feature_dimensions`"),
            ));
        }
        let mut cells = 1_u64;
        for name in names {
            let bins = self.feature_bins.along(name);
            if bins == 0 {
                return Err(wrong("feature_bins", format!("must be at least 1 along {name}")));
            }
            cells = cells.saturating_mul(u64::try_from(bins).unwrap_or(u64::MAX).saturating_add(1));
        }
        if cells > MAX_CELLS {
            return Err(wrong(
                "feature_bins",
                format!("make a grid of more than {MAX_CELLS} cells: use fewer bins or fewer dimensions"),
            ));
        }
        Ok(())
    }

    /// The axes of the grid with their bins.
    pub(crate) fn axes(&self) -> impl Iterator<Item = (Dimension, usize)> {
        self.feature_dimensions.iter().map(|name| (Dimension::from_name(name), self.feature_bins.along(name)))
    }
}

fn wrong(key: &'static str, problem: String) -> ConfigError {
    ConfigError { key, problem }
}

fn at_least_one(key: &'static str, value: usize) -> Result<(), ConfigError> {
    if value == 0 { Err(wrong(key, "must be at least 1".into())) } else { Ok(()) }
}

fn at_least(key: &'static str, value: f64, least: f64) -> Result<(), ConfigError> {
    if value >= least && value.is_finite() {
        Ok(())
    } else {
        Err(wrong(key, format!("must be a number of at least {least}, not {value}")))
    }
}

fn share(key: &'static str, value: f64) -> Result<(), ConfigError> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(wrong(key, format!("must be between 0 and 1, not {value}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(yaml: &str) -> String {
        let config: SearchConfig = serde_yaml::from_str(yaml).unwrap();
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn the_default_is_valid() {
        assert_eq!(SearchConfig::default().check(), Ok(()));
    }

    #[test]
    fn absent_keys_take_their_defaults_and_bins_may_be_given_by_name() {
        let config: SearchConfig =
            serde_yaml::from_str("num_islands: 2\nfeature_bins: { complexity: 4 }\n").unwrap();
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.population_size, SearchConfig::default().population_size);
        assert_eq!(config.feature_bins.along("complexity"), 4);
        assert_eq!(config.feature_bins.along("diversity"), FeatureBins::DEFAULT);
        let config: SearchConfig = serde_yaml::from_str("feature_bins: 7").unwrap();
        assert_eq!(config.feature_bins, FeatureBins::All(7));
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_errors() {
        let error = serde_yaml::from_str::<SearchConfig>("num_island: 2").unwrap_err().to_string();
        assert!(error.contains("num_island"), "{error}");
        let error = serde_yaml::from_str::<SearchConfig>("feature_bins: many").unwrap_err().to_string();
        assert!(error.contains("a number of bins"), "{error}");
        assert!(serde_yaml::from_str::<SearchConfig>("feature_bins: -3").is_err());
    }

    #[test]
    fn every_bad_value_is_named_with_its_key() {
        for (yaml, expected) in [
            ("num_islands: 0", "`num_islands` must be at least 1"),
            ("archive_size: 0", "`archive_size` must be at least 1"),
            ("diversity_reference_size: 0", "`diversity_reference_size` must be at least 1"),
            (
                "{ num_islands: 4, population_size: 3 }",
                "`population_size` must be at least `num_islands` (4), not 3",
            ),
            ("exploration_ratio: -0.1", "`exploration_ratio` must be between 0 and 1, not -0.1"),
            ("exploitation_ratio: .nan", "`exploitation_ratio` must be between 0 and 1, not NaN"),
            ("elite_selection_ratio: 2", "`elite_selection_ratio` must be between 0 and 1, not 2"),
            ("exchange_rate: 1.5", "`exchange_rate` must be between 0 and 1, not 1.5"),
            (
                "exploration_ratio: 0.5",
                "`exploitation_ratio` and `exploration_ratio` must add up to at most 1",
            ),
            ("feature_dimensions: []", "`feature_dimensions` must name at least one"),
            ("feature_dimensions: ['']", "`feature_dimensions` must not hold an empty name"),
            ("feature_dimensions: [score, score]", "`feature_dimensions` names score twice"),
            ("feature_bins: 0", "`feature_bins` must be at least 1 along complexity"),
            ("feature_bins: { speed: 3 }", "`feature_bins` has bins for speed"),
            (
                "selection: { adaptive: { least: 2 } }",
                "`selection.adaptive.least` must be between 0 and 1, not 2",
            ),
            (
                "selection: { power_law: { exponent: -1 } }",
                "`selection.power_law.exponent` must be a number of at least 0",
            ),
            ("selection: { tournament: { size: 0 } }", "`selection.tournament.size` must be at least 1"),
            (
                "selection: { pareto: { objectives: [{ metric: score }] } }",
                "`selection.pareto.objectives` must name at least two",
            ),
            ("score_caution: .nan", "`score_caution` must be a number of at least 0"),
            ("stagnation: { max_islands: 0 }", "`stagnation.max_islands` must be at least 1"),
            ("stagnation: { max_widening: 11 }", "`stagnation.max_widening` must be at most 10"),
            ("early_stopping: { patience: 0 }", "`early_stopping.patience` must be at least 1"),
            (
                "early_stopping: { patience: 9, min_improvement: -1 }",
                "`early_stopping.min_improvement` must be a number of at least 0",
            ),
            ("novelty: { max_similarity: 90 }", "`novelty.max_similarity` must be between 0 and 1"),
            ("novelty: { retries: 99 }", "`novelty.retries` must be at most 10"),
            ("bandit: { window: 0 }", "`bandit.window` must be at least 1"),
            ("bandit: { cost_weight: 2 }", "`bandit.cost_weight` must be between 0 and 1"),
            ("bandit: { operators: { edit: -1 } }", "`bandit.operators` must have weights of 0 or more"),
            ("bandit: { operators: { edit: 0 } }", "`bandit.operators` must have a weight above 0"),
            ("tune: { share: 2 }", "`tune.share` must be between 0 and 1"),
            ("feature_bins: 5000", "`feature_bins` make a grid of more than 1000000 cells"),
        ] {
            let problem = problem(yaml);
            assert!(problem.starts_with(expected), "{yaml}: {problem}");
        }
    }
}
