//! What the evaluator is asked to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::trial::Arm;

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
    /// What for.
    #[serde(default)]
    pub purpose: Purpose,
}

/// What a program is evaluated for. Command problems know no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// As a candidate of a search, by the problem's protocol.
    #[default]
    Search,
    /// Only to find out whether it is an honest program: all fences, but a single trial and no statistics. A kernel that
    /// passes is measured with score 1 and a reason that begins with `screened`.
    Screen,
    /// For the final report: fresh pairs against an opponent. The search's protocol doesn't hear of it.
    Compare {
        /// Whom it is compared with.
        opponent: Opponent,
    },
    /// The program against itself: so many trials, one after the other, which tell how noisy the machine is.
    Calibrate {
        /// How many.
        trials: u32,
    },
}

/// Whom a champion is compared with in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opponent {
    /// The problem's initial program.
    Baseline,
    /// MLX-LM's own layer.
    MlxLm,
    /// MLX-LM's own LoRA layer, where the problem trains DoRA: another computation, shown for what DoRA costs.
    PlainLora,
}

impl Opponent {
    /// Those that a problem's champion has.
    pub fn of(problem: &Problem) -> &'static [Self] {
        match problem {
            Problem::Kernel(kernel) if !kernel.training.fine_tune_type.is_lora() => {
                &[Self::Baseline, Self::MlxLm, Self::PlainLora]
            }
            _ => &[Self::Baseline, Self::MlxLm],
        }
    }

    /// The word used in the database and reports.
    pub fn as_str(self) -> &'static str {
        self.arm().as_str()
    }

    /// Whose trials those are.
    pub fn arm(self) -> Arm {
        match self {
            Self::Baseline => Arm::Baseline,
            Self::MlxLm => Arm::MlxLm,
            Self::PlainLora => Arm::PlainLora,
        }
    }
}

impl fmt::Display for Opponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => "the initial program",
            Self::MlxLm => "MLX-LM's own layer",
            Self::PlainLora => "plain LoRA on the same model",
        })
    }
}
