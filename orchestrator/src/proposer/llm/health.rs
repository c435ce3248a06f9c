//! What is known of an account at an endpoint: whether it works, is down for now, or is of no use any more.
//! Pure: times are passed in.

use std::time::{Duration, Instant};

use super::refusal::Blame;
use crate::proposer::ProposerError;

/// Whether requests can be sent to an account.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    /// It hasn't answered anything yet in this session.
    Untried,
    /// It answered last time.
    Up,
    /// It answered before, and now doesn't: one request at a time looks whether it is back.
    Down {
        since: Instant,
        /// When the next request may look.
        next: Instant,
        /// Requests that failed in a row.
        failures: u32,
        /// How the last of them ended.
        reason: String,
    },
    /// Not before the user has done something.
    Out(ProposerError),
}

/// An account's state, and how often it has answered.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) state: State,
    /// Answers so far, refusals of a prompt included.
    pub(super) answers: u64,
    /// No request before this: the endpoint asked for it.
    pub(super) not_before: Option<Instant>,
}

/// What to do about a prompt that used up its requests.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// The endpoint works for others: this prompt gets no answer.
    Prompt,
    /// The endpoint works for nobody, and did before: wait for it.
    Outage,
    /// It has never worked in this session: nothing to wait for.
    Dead,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { state: State::Untried, answers: 0, not_before: None }
    }

    /// It answered.
    pub(super) fn answered(&mut self) {
        self.answers += 1;
        if !matches!(self.state, State::Out(_)) {
            self.state = State::Up;
        }
    }

    /// A prompt used up all its requests; before the first of them there had been `answers_before` answers.
    pub(super) fn exhausted(&self, blame: Blame, answers_before: u64) -> Verdict {
        match blame {
            Blame::Prompt => Verdict::Prompt,
            Blame::Unknown if self.answers > answers_before => Verdict::Prompt,
            Blame::Unknown | Blame::Endpoint if self.answers > 0 => Verdict::Outage,
            Blame::Unknown | Blame::Endpoint => Verdict::Dead,
        }
    }

    /// It is down, as the last of `failures` more requests in a row showed; the next one may look again after `wait`, which gets
    /// the number of all in a row.
    pub(super) fn failed(
        &mut self,
        failures: u32,
        reason: &str,
        now: Instant,
        wait: impl Fn(u32) -> Duration,
    ) {
        let (since, before) = match self.state {
            State::Out(_) => return,
            State::Down { since, failures, .. } => (since, failures),
            State::Untried | State::Up => (now, 0),
        };
        let failures = before.saturating_add(failures);
        self.state = State::Down { since, next: now + wait(failures), failures, reason: reason.to_owned() };
    }

    /// The endpoint wants no request for so long.
    pub(super) fn hold(&mut self, now: Instant, wait: Duration) {
        let until = now + wait;
        self.not_before = Some(self.not_before.map_or(until, |before| before.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proposer::ProposerErrorKind;

    #[test]
    fn a_prompt_is_blamed_only_while_others_are_answered() {
        let mut health = Health::new();
        for blame in [Blame::Endpoint, Blame::Unknown] {
            assert_eq!(health.exhausted(blame, 0), Verdict::Dead);
        }
        assert_eq!(health.exhausted(Blame::Prompt, 0), Verdict::Prompt);
        health.answered();
        assert_eq!(health.exhausted(Blame::Unknown, 0), Verdict::Prompt, "somebody was answered meanwhile");
        assert_eq!(health.exhausted(Blame::Unknown, 1), Verdict::Outage);
        assert_eq!(
            health.exhausted(Blame::Endpoint, 0),
            Verdict::Outage,
            "a rate limit is no prompt's fault"
        );
    }

    #[test]
    fn an_outage_lasts_from_its_first_failure_to_the_next_answer() {
        let (mut health, start) = (Health::new(), Instant::now());
        let second = Duration::from_secs(1);
        health.answered();
        let wait = |failures: u32| failures * second;
        health.failed(4, "busy", start, wait);
        health.failed(1, "gone", start + second, wait);
        let (next, reason) = (start + 6 * second, "gone".to_owned());
        assert_eq!(health.state, State::Down { since: start, next, failures: 5, reason });
        health.answered();
        assert_eq!((health.state.clone(), health.answers), (State::Up, 2));
        health.failed(4, "busy", start + 9 * second, wait);
        assert!(matches!(health.state, State::Down { since, .. } if since == start + 9 * second));
    }

    #[test]
    fn who_is_out_stays_out() {
        let mut health = Health::new();
        let error = ProposerError::new(ProposerErrorKind::WrongKey, "no", "do");
        health.state = State::Out(error.clone());
        health.answered();
        health.failed(1, "busy", Instant::now(), |_| Duration::ZERO);
        assert_eq!(health.state, State::Out(error));
    }
}
