//! What the evaluator is asked to do.

use serde::{Deserialize, Serialize};

/// One candidate to evaluate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The caller's number for it, unique among the jobs in flight.
    pub id: u64,
    /// The whole source text.
    pub program: String,
    /// The program's code hash. The trial runner echoes it, which proves that this kernel ran.
    pub kernel: String,
    /// Only find out whether it is an honest program: all fences, but a single trial and no statistics. A kernel that passes
    /// is measured with score 1 and a reason that begins with `screened`. Command problems know no difference.
    #[serde(default)]
    pub screen: bool,
}
