//! How parents are chosen: the `selection` key.

use serde::Deserialize;

/// A strategy with its settings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Selection {
    /// The island's best while it improves; the longer it hasn't, the more often a draw by the mixture.
    Adaptive {
        /// Share of draws by the mixture on an island that has just improved.
        #[serde(default = "default_least")]
        least: f64,
        /// Share of draws by the mixture on an island that is stagnant.
        #[serde(default = "default_most")]
        most: f64,
    },
    /// OpenEvolve's mixture: uniform over the island (`exploration_ratio`), uniform over its archive
    /// (`exploitation_ratio`), else weighted by score.
    Mixture,
    /// By rank in the population: the n-th best with a weight of n^-exponent. (`ShinkaEvolve`, arXiv 2509.19349,
    /// section 3.1; 0 is uniform.)
    PowerLaw {
        /// How much the better are preferred.
        #[serde(default = "default_exponent")]
        exponent: f64,
    },
    /// Over the archive, by score and novelty: the sigmoid of `sharpness` times the distance of the score from the median, in
    /// median absolute deviations, over one plus the number of children. (`ShinkaEvolve`, arXiv 2509.19349,
    /// section 3.1; the scale is that of its code.)
    Weighted {
        /// `ShinkaEvolve`'s lambda: how much the score counts.
        #[serde(default = "default_sharpness")]
        sharpness: f64,
    },
    /// The best of a few drawn uniformly from the population.
    Tournament {
        /// How many.
        #[serde(default = "default_size")]
        size: usize,
    },
    /// From the island's programs that no other one beats in every objective: the less crowded of two drawn
    /// (K. Deb et al., "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", 2002, section III).
    Pareto {
        /// At least two.
        objectives: Vec<Objective>,
    },
    /// Always the initial program: best of N independent tries. A control without islands: it says what evolution adds.
    Independent,
    /// Always the best program. A control without islands.
    Sequential,
}

/// One of several objectives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// `score`, or a metric that the evaluator returns. A program without it has the worst value.
    pub metric: String,
    /// Whether less is better.
    #[serde(default)]
    pub minimize: bool,
}

impl Selection {
    /// Whether it is one of the controls, which have neither islands nor answers to stagnation.
    pub fn is_control(&self) -> bool {
        matches!(self, Self::Independent | Self::Sequential)
    }

    /// The objectives, where there are several.
    pub(crate) fn objectives(&self) -> &[Objective] {
        match self {
            Self::Pareto { objectives } => objectives,
            _ => &[],
        }
    }
}

impl Default for Selection {
    fn default() -> Self {
        Self::Adaptive { least: default_least(), most: default_most() }
    }
}

fn default_least() -> f64 {
    0.02
}

fn default_most() -> f64 {
    0.3
}

fn default_exponent() -> f64 {
    1.0
}

fn default_sharpness() -> f64 {
    10.0
}

fn default_size() -> usize {
    3
}
