//! Whether a run is worked on, and how it ended if not.

use program_db::{RunId, Wish};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Service;
use super::problem::Problem;
use crate::event::StopReason;

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Nobody has worked on it yet.
    New,
    /// A process works on it.
    Running,
    /// A process works on it and was asked from here to pause: it finishes what is under way.
    Pausing,
    /// A process works on it and was asked from here to stop for good.
    Stopping,
    /// It was interrupted and can be resumed.
    Paused,
    /// It was stopped for good from here. It can be resumed all the same.
    Stopped,
    /// It came to an end that its configuration names.
    Ended,
    /// Something broke; the reason says what. It can be resumed.
    Failed,
    /// Its process ended without a word: killed, or the machine went down. It can be resumed.
    Killed,
}

impl RunState {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Stopping => "stopping",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Killed => "killed",
        }
    }

    /// Whether a process works on it.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Pausing | Self::Stopping)
    }
}

/// What a run does, who does it, and why it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RunStatus {
    /// What it does.
    pub state: RunState,
    /// The process that works on it.
    pub pid: Option<u32>,
    /// Why its last session ended, in words.
    pub reason: Option<String>,
}

impl Service {
    /// What a run does now, whichever process works on it.
    ///
    /// # Errors
    /// The database or the run's lock can't be read.
    pub async fn status(&self, run: RunId) -> Result<RunStatus, Problem> {
        let holder = self.db().run_holder(run)?;
        let last = self.db().sessions(run).await?.into_iter().next_back();
        let wish = match &last {
            Some(last) => self.db().wish(last.id).await?,
            None => None,
        };
        if let Some(holder) = holder {
            // A holder without a session only just starts, or measures for a report: nobody asked it for anything.
            let wish = wish.filter(|_| last.is_some_and(|last| last.ended_at.is_none()));
            let state = match wish {
                None => RunState::Running,
                Some(Wish::Pause) => RunState::Pausing,
                Some(Wish::Stop) => RunState::Stopping,
            };
            return Ok(RunStatus { state, pid: holder.pid, reason: None });
        }
        let Some(last) = last else { return Ok(RunStatus { state: RunState::New, pid: None, reason: None }) };
        let state = match last.reason.as_deref().map(str::parse::<StopReason>) {
            None => RunState::Killed,
            Some(Ok(StopReason::Interrupted)) if wish == Some(Wish::Stop) => RunState::Stopped,
            Some(Ok(StopReason::Interrupted)) => RunState::Paused,
            Some(Ok(_)) => RunState::Ended,
            Some(Err(())) => RunState::Failed,
        };
        Ok(RunStatus { state, pid: None, reason: last.reason })
    }
}
