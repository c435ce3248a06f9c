//! What one evaluation leaves behind while it runs: progress for those who watch, records for the report.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::UnboundedSender;

use crate::noise::Record;
use crate::protocol::Decision;
use crate::report::Artifact;
use crate::trial::TrialRecord;
use crate::wire::{Event, Progress, Reply};

/// One evaluation's records.
#[derive(Debug)]
pub(crate) struct Log {
    id: u64,
    replies: UnboundedSender<Reply>,
    pub(crate) trials: Vec<TrialRecord>,
    pub(crate) artifacts: Vec<Artifact>,
    /// The protocol's, once it has one.
    pub(crate) decision: Option<Decision>,
    /// See [`crate::EvaluationReport::noise`].
    pub(crate) noise: Option<Record>,
}

impl Log {
    pub(crate) fn new(id: u64, replies: UnboundedSender<Reply>) -> Self {
        Self { id, replies, trials: Vec::new(), artifacts: Vec::new(), decision: None, noise: None }
    }

    pub(crate) fn event(&self, event: Event) {
        // Nobody listens any more when we are about to end.
        let _ = self.replies.send(Reply::Progress(Progress { id: self.id, event }));
    }

    /// Keeps a text, unless there is nothing in it; less of it, once there is much already.
    pub(crate) fn artifact(&mut self, name: &str, content: &str) {
        if content.trim().is_empty() || self.artifacts.len() >= Artifact::COUNT {
            return;
        }
        let taken: usize = self.artifacts.iter().map(|artifact| artifact.content.len()).sum();
        // Whatever has been said before, there is room for some lines.
        let room = Artifact::ALL.saturating_sub(taken).max(Artifact::LINES);
        self.artifacts.push(Artifact::within(room, name, content));
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
