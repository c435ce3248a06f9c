//! How a run comes to its end: why, and what is still waited for.

use evaluator::EvaluatorError;

use crate::event::StopReason;
use crate::exit_code::{ExitCode, Failure};
use crate::proposer::{ProposerError, ProposerErrorKind};

/// Why no new work is begun.
#[derive(Debug)]
pub(super) enum Ending {
    /// A budget is spent or a target reached: what is under way is finished. With what to tell the user meanwhile, if anything.
    Budget(StopReason, Option<String>),
    /// Ctrl-C: evaluations are dropped (they are done again on resume), proposals are waited for (they are paid for).
    Interrupted,
    /// Something that the user must mend: as for Ctrl-C.
    Failed(Failure),
}

impl Ending {
    pub(super) fn budget(reason: StopReason) -> Self {
        let words = (reason == StopReason::WallTime).then(|| "the wall-time budget is spent".to_owned());
        Self::Budget(reason, words)
    }

    pub(super) fn interrupted() -> Self {
        Self::Interrupted
    }

    /// What a proposer's error means for the run; nothing if it only follows from an end that has begun.
    pub(super) fn proposer(error: &ProposerError) -> Option<Self> {
        let reason = match error.kind {
            ProposerErrorKind::Withdrawn => return None,
            ProposerErrorKind::CostSpent => StopReason::Cost,
            ProposerErrorKind::TokensSpent => StopReason::Tokens,
            ProposerErrorKind::RecordingEnds => StopReason::RecordingEnds,
            ProposerErrorKind::WrongKey
            | ProposerErrorKind::OutOfMoney
            | ProposerErrorKind::NotFound
            | ProposerErrorKind::Unreachable => return Some(Self::failed(ExitCode::Endpoint, error)),
            ProposerErrorKind::Setup => return Some(Self::failed(ExitCode::Usage, error)),
        };
        Some(Self::Budget(reason, Some(format!("{} ({})", error.what, error.hint))))
    }

    fn failed(code: ExitCode, error: &ProposerError) -> Self {
        let ProposerError { what, hint, .. } = error;
        let message = format!("{what}\n  hint: {hint}\n  nothing is lost: `evolve resume` goes on");
        Self::Failed(Failure { code, message })
    }

    pub(super) fn evaluator(error: &EvaluatorError) -> Self {
        Self::Failed(Failure {
            code: ExitCode::Evaluator,
            message: format!("{error}\n  nothing is lost: `evolve resume` goes on"),
        })
    }

    /// Whether this reason takes the place of an earlier one.
    pub(super) fn overrides(&self, earlier: &Self) -> bool {
        matches!((self, earlier), (Self::Interrupted | Self::Failed(_), Self::Budget(..)))
    }

    /// Whether evaluations under way are left to the next session.
    pub(super) fn drops_evaluations(&self) -> bool {
        !matches!(self, Self::Budget(..))
    }

    /// Whether nothing is waited for any more, with so many proposals under way and so many numbers untold, and whether the next of
    /// those waits for a proposal.
    pub(super) fn is_over(&self, proposing: usize, in_flight: u64, is_stuck: bool) -> bool {
        proposing == 0 && (self.drops_evaluations() || in_flight == 0 || is_stuck)
    }

    /// What to tell the user while proposals are waited for.
    pub(super) fn announcement(&self, proposing: usize) -> Option<String> {
        match self {
            Self::Budget(_, words) => {
                words.as_ref().map(|words| format!("{words}; finishing what is under way"))
            }
            Self::Interrupted if proposing > 0 => Some(format!(
                "interrupted; waiting for {proposing} proposals that are under way (Ctrl-C again ends at once)"
            )),
            Self::Interrupted => Some("interrupted".into()),
            Self::Failed(_) => None,
        }
    }

    /// The run's result.
    pub(super) fn result(self) -> Result<StopReason, Failure> {
        match self {
            Self::Budget(reason, _) => Ok(reason),
            Self::Interrupted => Ok(StopReason::Interrupted),
            Self::Failed(failure) => Err(failure),
        }
    }
}
