//! The statistics that the protocols use, and those that check them.
//!
//! Pure functions: no clock, and randomness is passed in. Distributions are statrs'; what it lacks or has wrong (its exact
//! Mann–Whitney is, for groups of equal size) is written here. Each file names its source, and the values agree with `SciPy`'s:
//! `make check-statistics`.

mod bootstrap;
mod e_process;
mod equivalence;
mod mann_whitney;
mod online;
mod seed_rule;
mod sequential;
mod shrinkage;
mod sign_flip;
mod signed_rank;
mod spread;
mod student;
mod summary;

pub use bootstrap::{Bootstrap, bootstrap_mean};
pub use e_process::{flip_log_factor, flip_log_factor_lost, log_mean};
pub use equivalence::{Equivalence, equivalence, equivalence_paired};
pub use mann_whitney::{MannWhitney, mann_whitney, mann_whitney_asymptotic, mann_whitney_exact};
pub use online::e_lond_level;
pub use seed_rule::{SeedRule, SeedVerdict, seed_rule};
pub use sequential::{Bounds, wald_bounds};
pub use shrinkage::shrink;
pub use sign_flip::sign_flip;
pub use signed_rank::{
    SignedRank, hodges_lehmann, signed_rank, signed_rank_interval, signed_rank_order, walsh_averages,
};
pub use spread::{NORMAL_CONSISTENCY, robust_deviation};
pub use student::{Comparison, TTest, compare, one_sample};
pub use summary::{mean, median, quantile, standard_deviation, variance};
