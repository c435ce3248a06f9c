//! Decides what the run loop does next. Pure: the loop acts.
//!
//! Proposals are numbered. Number n is asked for as soon as every outcome up to `n - lookahead` has been told, and
//! before anything later is told; admissions and tells happen strictly in order of numbers. So what search knows
//! when it is asked for n doesn't depend on which model call or evaluation happened to end first, and a resumed run
//! asks what the uninterrupted one would have asked.

use std::collections::BTreeMap;

/// What to do next. `P` is a proposal that awaits admission, `F` an outcome that awaits its telling.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<P, F> {
    /// Ask search for this number and start proposing.
    Ask(u64),
    /// Decide whether this proposal is evaluated.
    Admit(u64, P),
    /// Tell search how this number ended.
    Tell(u64, F),
    /// Nothing until a proposal arrives or an evaluation ends.
    Wait,
    /// Everything asked for has been told.
    Done,
}

/// The order of a run's work. Number 0 is the initial program: it is never asked for, and told before any ask.
#[derive(Debug)]
pub struct Pipeline<P, F> {
    lookahead: u64,
    last: u64,
    next_ask: u64,
    next_admit: u64,
    next_tell: u64,
    proposed: BTreeMap<u64, P>,
    finished: BTreeMap<u64, F>,
}

impl<P, F> Pipeline<P, F> {
    /// Numbers 0 to `last`; at most `lookahead` (at least 1) asked for beyond what has been told.
    pub fn new(lookahead: u64, last: u64) -> Self {
        Self {
            lookahead: lookahead.max(1),
            last,
            next_ask: 1,
            next_admit: 0,
            next_tell: 0,
            proposed: BTreeMap::new(),
            finished: BTreeMap::new(),
        }
    }

    /// A proposal (or what is stored of one) is there.
    pub fn proposed(&mut self, number: u64, proposal: P) {
        self.proposed.insert(number, proposal);
    }

    /// An outcome is there.
    pub fn finished(&mut self, number: u64, outcome: F) {
        self.finished.insert(number, outcome);
    }

    /// Asks for nothing more: what has been asked for is the rest of the run.
    pub fn stop_asking(&mut self) {
        self.last = self.next_ask - 1;
    }

    /// Numbers asked for (or stored) and not yet told.
    pub fn in_flight(&self) -> u64 {
        self.next_ask - self.next_tell
    }

    /// Whether all that is there has been told and the next number waits for its proposal: without that nothing goes on.
    pub fn is_stuck(&self) -> bool {
        self.next_tell == self.next_admit
            && self.next_admit < self.next_ask
            && !self.proposed.contains_key(&self.next_admit)
    }

    /// What to do next.
    pub fn next_step(&mut self) -> Step<P, F> {
        // Asking goes first: after each telling exactly one more number may be asked for, and it must be asked
        // before the next telling changes what search knows.
        if self.next_tell > 0 && self.next_ask <= self.last && self.next_ask < self.next_tell + self.lookahead
        {
            self.next_ask += 1;
            return Step::Ask(self.next_ask - 1);
        }
        if let Some(proposal) = self.proposed.remove(&self.next_admit) {
            self.next_admit += 1;
            return Step::Admit(self.next_admit - 1, proposal);
        }
        if let Some(outcome) = self.finished.remove(&self.next_tell) {
            self.next_tell += 1;
            return Step::Tell(self.next_tell - 1, outcome);
        }
        if self.next_tell > self.last { Step::Done } else { Step::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs a pipeline to its end; replies and evaluations arrive in the order that `order` dictates.
    /// Returns for each number how many outcomes had been told when it was asked for.
    fn told_when_asked(lookahead: u64, last: u64, mut order: impl FnMut(usize) -> usize) -> Vec<(u64, u64)> {
        let mut pipeline = Pipeline::<(), ()>::new(lookahead, last);
        pipeline.proposed(0, ());
        let (mut proposing, mut evaluating) = (Vec::new(), Vec::new());
        let (mut told, mut asked) = (0, Vec::new());
        loop {
            match pipeline.next_step() {
                Step::Ask(number) => {
                    asked.push((number, told));
                    proposing.push(number);
                }
                Step::Admit(number, ()) => evaluating.push(number),
                Step::Tell(number, ()) => {
                    assert_eq!(number, told, "told out of order");
                    told += 1;
                }
                Step::Wait => {
                    let waiting = proposing.len() + evaluating.len();
                    assert!(waiting > 0, "waits for nothing");
                    let pick = order(waiting) % waiting;
                    if pick < proposing.len() {
                        pipeline.proposed(proposing.remove(pick), ());
                    } else {
                        pipeline.finished(evaluating.remove(pick - proposing.len()), ());
                    }
                }
                Step::Done => return asked,
            }
        }
    }

    proptest! {
        #[test]
        fn what_search_knows_at_each_ask_does_not_depend_on_arrival_order(
            lookahead in 1u64..7, last in 0u64..40, picks in prop::collection::vec(0usize..50, 1..60)
        ) {
            let mut turn = 0;
            let shuffled = told_when_asked(lookahead, last, |_| { turn += 1; picks[turn % picks.len()] });
            let in_order = told_when_asked(lookahead, last, |_| 0);
            prop_assert_eq!(&shuffled, &in_order);
            prop_assert_eq!(shuffled.len() as u64, last);
            for (number, told) in shuffled {
                prop_assert_eq!(told, (number + 1).saturating_sub(lookahead).max(1));
            }
        }
    }

    #[test]
    fn stopping_finishes_what_was_asked_for_and_asks_no_more() {
        let mut pipeline = Pipeline::<(), ()>::new(2, 100);
        pipeline.proposed(0, ());
        assert_eq!(pipeline.next_step(), Step::Admit(0, ()));
        pipeline.finished(0, ());
        assert_eq!(pipeline.next_step(), Step::Tell(0, ()));
        assert_eq!(pipeline.next_step(), Step::Ask(1));
        pipeline.stop_asking();
        assert_eq!(pipeline.next_step(), Step::Wait);
        pipeline.proposed(1, ());
        assert_eq!(pipeline.next_step(), Step::Admit(1, ()));
        pipeline.finished(1, ());
        assert_eq!(pipeline.next_step(), Step::Tell(1, ()));
        assert_eq!(pipeline.next_step(), Step::Done);
    }

    #[test]
    fn a_number_without_a_proposal_holds_up_what_comes_after_it() {
        let mut pipeline = Pipeline::<(), ()>::new(4, 100);
        pipeline.proposed(0, ());
        assert_eq!(pipeline.next_step(), Step::Admit(0, ()));
        assert!(!pipeline.is_stuck(), "number 0 is evaluated");
        pipeline.finished(0, ());
        assert_eq!(pipeline.next_step(), Step::Tell(0, ()));
        for number in 1..=4 {
            assert_eq!(pipeline.next_step(), Step::Ask(number));
        }
        pipeline.proposed(1, ());
        pipeline.proposed(3, ());
        assert!(!pipeline.is_stuck(), "number 1 is there");
        assert_eq!(pipeline.next_step(), Step::Admit(1, ()));
        assert!(!pipeline.is_stuck(), "number 1 is evaluated");
        pipeline.finished(1, ());
        pipeline.stop_asking();
        assert_eq!(pipeline.next_step(), Step::Tell(1, ()));
        assert!(pipeline.is_stuck(), "number 3 waits for number 2");
        assert_eq!((pipeline.next_step(), pipeline.in_flight()), (Step::Wait, 3));
    }
}
