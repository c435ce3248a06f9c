//! An account at an endpoint: what all models share that have one address and one key.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::health::{Health, State, Verdict};
use super::model::Model;
use super::refusal::Blame;
use crate::proposer::{ProposerError, Secret};

pub(super) struct Account {
    api_base: String,
    api_key: Secret,
    /// Requests under way at once, over all its models.
    pub(super) permits: Semaphore,
    health: Mutex<Health>,
    /// Whose turn it is to look whether an account that is down is back.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl Account {
    pub(super) fn new(model: &Model, concurrency: usize) -> Self {
        Self {
            api_base: model.api_base.clone(),
            api_key: model.api_key.clone(),
            permits: Semaphore::new(concurrency),
            health: Mutex::new(Health::new()),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) fn is_of(&self, model: &Model) -> bool {
        self.api_base == model.api_base && self.api_key == model.api_key
    }

    pub(super) fn state(&self) -> State {
        self.health().state.clone()
    }

    pub(super) fn answers(&self) -> u64 {
        self.health().answers
    }

    pub(super) fn answered(&self) {
        self.health().answered();
    }

    pub(super) fn exhausted(&self, blame: Blame, answers_before: u64) -> Verdict {
        self.health().exhausted(blame, answers_before)
    }

    pub(super) fn failed(&self, failures: u32, reason: &str, wait: impl Fn(u32) -> Duration) {
        self.health().failed(failures, reason, Instant::now().into_std(), wait);
    }

    pub(super) fn hold(&self, wait: Duration) {
        self.health().hold(Instant::now().into_std(), wait);
    }

    /// How long the endpoint still wants no request.
    pub(super) fn held(&self) -> Duration {
        let until = self.health().not_before;
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now().into_std()))
    }

    /// Takes it out of use; whether it was in use before.
    pub(super) fn take_out(&self, error: &ProposerError) -> bool {
        let mut health = self.health();
        let was_in = !matches!(health.state, State::Out(_));
        if was_in {
            health.state = State::Out(error.clone());
        }
        was_in
    }

    /// Nothing that holds it can panic.
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
