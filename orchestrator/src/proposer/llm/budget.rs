//! What a run may spend on models. A request is let through when it fits even at its worst, together with all that are under way;
//! so the budget is never passed, and a run ends with at most one request's worst case left over.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Money and tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// In the currency of the configured prices; 0 where no price is known.
    pub cost: f64,
    /// Sent and received.
    pub tokens: u64,
}

/// What may be spent in all sessions of a run together; absent: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Limits {
    pub(super) cost: Option<f64>,
    pub(super) tokens: Option<u64>,
}

/// Why a request can't be let through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Over {
    /// It might cost more than is left.
    Cost { limit: f64, spent: f64, worst: f64 },
    /// It might take more tokens than are left.
    Tokens { limit: u64, spent: u64, worst: u64 },
}

/// What a budget says to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Decision {
    Granted,
    /// Those under way may take less than their worst.
    Wait,
    Never(Over),
}

#[derive(Debug, Default)]
struct Book {
    spent: Spent,
    reserved: Spent,
    under_way: u64,
}

impl Book {
    fn decide(&self, limits: Limits, worst: Spent) -> Decision {
        let over_tokens = |spent: u64| {
            let limit = limits.tokens?;
            let sum = spent.saturating_add(worst.tokens);
            (sum > limit).then_some(Over::Tokens { limit, spent, worst: worst.tokens })
        };
        let over_cost = |spent: f64| {
            let limit = limits.cost?;
            // Sums of many small prices are off by some last digits.
            let sum = spent + worst.cost;
            (sum > limit * (1.0 + 1e-9)).then_some(Over::Cost { limit, spent, worst: worst.cost })
        };
        let over = |spent: Spent| over_cost(spent.cost).or_else(|| over_tokens(spent.tokens));
        if let Some(never) = over(self.spent) {
            return Decision::Never(never);
        }
        let all = Spent {
            cost: self.spent.cost + self.reserved.cost,
            tokens: self.spent.tokens.saturating_add(self.reserved.tokens),
        };
        if self.under_way > 0 && over(all).is_some() { Decision::Wait } else { Decision::Granted }
    }
}

/// The budget of a run, shared by all requests.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    book: Mutex<Book>,
    freed: Notify,
    /// Whose turn it is to wait: without turns a small request would overtake a large one for ever.
    turn: tokio::sync::Mutex<()>,
}

impl Budget {
    /// `spent` is what earlier sessions of the run took.
    pub(super) fn new(limits: Limits, spent: Spent) -> Self {
        let book = Book { spent, ..Book::default() };
        Self { limits, book: Mutex::new(book), freed: Notify::new(), turn: tokio::sync::Mutex::new(()) }
    }

    /// Waits until a request fits that takes `worst` at most.
    pub(super) async fn reserve(&self, worst: Spent) -> Result<Reservation<'_>, Over> {
        let _turn = self.turn.lock().await;
        loop {
            let freed = self.freed.notified();
            {
                let mut book = self.book();
                match book.decide(self.limits, worst) {
                    Decision::Granted => {
                        book.under_way += 1;
                        book.reserved.cost += worst.cost;
                        book.reserved.tokens = book.reserved.tokens.saturating_add(worst.tokens);
                        return Ok(Reservation { budget: self, worst, took: Spent::default() });
                    }
                    Decision::Never(over) => return Err(over),
                    Decision::Wait => {}
                }
            }
            freed.await;
        }
    }

    /// Nothing that holds it can panic, and numbers have no broken state anyway.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one request. Dropped, it is given back but for what the request took.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    budget: &'a Budget,
    worst: Spent,
    took: Spent,
}

impl Reservation<'_> {
    /// Books what the request really took.
    pub(super) fn settle(mut self, took: Spent) {
        self.took = took;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut book = self.budget.book();
        book.under_way -= 1;
        book.reserved.tokens = book.reserved.tokens.saturating_sub(self.worst.tokens);
        // Exactly nothing when nothing is under way, whatever the rounding.
        book.reserved.cost =
            if book.under_way == 0 { 0.0 } else { (book.reserved.cost - self.worst.cost).max(0.0) };
        book.spent.cost += self.took.cost;
        book.spent.tokens = book.spent.tokens.saturating_add(self.took.tokens);
        drop(book);
        self.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn spent(cost: f64, tokens: u64) -> Spent {
        Spent { cost, tokens }
    }

    fn limits(cost: f64, tokens: u64) -> Limits {
        Limits { cost: Some(cost), tokens: Some(tokens) }
    }

    #[test]
    fn a_request_must_fit_at_its_worst_beside_those_under_way() {
        let mut book = Book { spent: spent(1.0, 10), ..Book::default() };
        let limits = limits(2.0, 100);
        assert_eq!(book.decide(limits, spent(1.0, 90)), Decision::Granted);
        assert!(matches!(book.decide(limits, spent(1.1, 0)), Decision::Never(Over::Cost { .. })));
        assert!(matches!(book.decide(limits, spent(0.0, 91)), Decision::Never(Over::Tokens { .. })));
        (book.under_way, book.reserved) = (1, spent(0.5, 0));
        assert_eq!(book.decide(limits, spent(0.6, 0)), Decision::Wait);
        assert_eq!(book.decide(limits, spent(0.5, 0)), Decision::Granted);
        let none = Limits::default();
        assert_eq!(book.decide(none, spent(1e9, u64::MAX)), Decision::Granted);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_requests_at_once_never_pass_the_limit_and_leave_less_than_one_over() {
        let budget = Arc::new(Budget::new(limits(1.0, u64::MAX), spent(0.1, 0)));
        let most = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = (0..400)
            .map(|n| {
                let (budget, most) = (budget.clone(), most.clone());
                tokio::spawn(async move {
                    let Ok(room) = budget.reserve(spent(0.05, 1)).await else { return false };
                    let now = budget.book().under_way;
                    most.fetch_max(now, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    // Some take nothing at all.
                    room.settle(spent(if n % 3 == 0 { 0.0 } else { 0.02 }, 1));
                    true
                })
            })
            .collect();
        let mut granted = 0;
        for task in tasks {
            granted += u64::from(task.await.unwrap());
        }
        let book = budget.book();
        assert!(book.spent.cost <= 1.0 && book.spent.cost > 0.95 - 1e-9, "{book:?}");
        assert_eq!((book.under_way, book.reserved.cost, book.spent.tokens), (0, 0.0, granted));
        assert!((2..=18).contains(&most.load(Ordering::SeqCst)), "{most:?} under way at once");
    }

    #[tokio::test]
    async fn a_request_that_comes_to_nothing_gives_its_room_back() {
        let budget = Budget::new(limits(1.0, 10), Spent::default());
        drop(budget.reserve(spent(1.0, 10)).await.unwrap());
        budget.reserve(spent(1.0, 10)).await.unwrap().settle(spent(0.5, 10));
        assert_eq!(
            budget.reserve(spent(0.1, 1)).await.unwrap_err(),
            Over::Tokens { limit: 10, spent: 10, worst: 1 }
        );
    }
}
