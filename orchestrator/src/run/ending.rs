//! How a run comes to its end: why, and what is still waited for.

use evaluator::EvaluatorError;

use crate::event::StopReason;
use crate::exit_code::{ExitCode, Failure};
use crate::proposer::{ProposerError, ProposerErrorKind};

/// Why no new work is begun.
#[derive(Debug)]
pub(super) enum Ending {
    /// A budget is spent or a target reached: what is under way is finished.
    Budget(StopReason),
    /// Ctrl-C: evaluations are dropped (they are done again on resume), proposals are waited for (they are paid for).
    Interrupted,
    /// Something that the user must mend: as for Ctrl-C.
    Failed(Failure),
}

impl Ending {
    pub(super) fn budget(reason: StopReason) -> Self {
        Self::Budget(reason)
    }

    pub(super) fn interrupted() -> Self {
        Self::Interrupted
    }

    pub(super) fn proposer(error: &ProposerError) -> Self {
        let code = match error.kind {
            ProposerErrorKind::Setup => ExitCode::Usage,
            _ => ExitCode::Endpoint,
        };
        Self::Failed(Failure {
            code,
            message: format!(
                "{}\n  hint: {}\n  nothing is lost: `evolve resume` goes on",
                error.what, error.hint
            ),
        })
    }

    pub(super) fn evaluator(error: &EvaluatorError) -> Self {
        Self::Failed(Failure {
            code: ExitCode::Evaluator,
            message: format!("{error}\n  nothing is lost: `evolve resume` goes on"),
        })
    }

    /// Whether this reason takes the place of an earlier one.
    pub(super) fn overrides(&self, earlier: &Self) -> bool {
        matches!((self, earlier), (Self::Interrupted | Self::Failed(_), Self::Budget(_)))
    }

    /// Whether evaluations under way are left to the next session.
    pub(super) fn drops_evaluations(&self) -> bool {
        !matches!(self, Self::Budget(_))
    }

    /// Whether nothing is waited for any more, with so many proposals under way and so many numbers untold.
    pub(super) fn is_over(&self, proposing: usize, in_flight: u64) -> bool {
        proposing == 0 && (self.drops_evaluations() || in_flight == 0)
    }

    /// What to tell the user while proposals are waited for.
    pub(super) fn announcement(&self, proposing: usize) -> Option<String> {
        match self {
            Self::Budget(StopReason::WallTime) => {
                Some("the wall-time budget is spent; finishing what is under way".into())
            }
            Self::Interrupted if proposing > 0 => Some(format!(
                "interrupted; waiting for {proposing} proposals that are under way (Ctrl-C again ends at once)"
            )),
            Self::Interrupted => Some("interrupted".into()),
            Self::Budget(_) | Self::Failed(_) => None,
        }
    }

    /// The run's result.
    pub(super) fn result(self) -> Result<StopReason, Failure> {
        match self {
            Self::Budget(reason) => Ok(reason),
            Self::Interrupted => Ok(StopReason::Interrupted),
            Self::Failed(failure) => Err(failure),
        }
    }
}
