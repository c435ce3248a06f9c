//! Several objectives: the programs that none beats in all, and how crowded it is around each.
//!
//! K. Deb, A. Pratap, S. Agarwal and T. Meyarivan, "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", IEEE
//! Transactions on Evolutionary Computation 6, 2002: dominance and crowding distance of section III. Only the first front is
//! kept, because parents come from it alone.

use rand::{Rng, RngExt};

use crate::entry::{Entries, Slot};

/// Whether `one` is nowhere worse than `two` and somewhere better. All objectives are to be maximised.
fn dominates(one: &[f64], two: &[f64]) -> bool {
    one.iter().zip(two).all(|(a, b)| a >= b) && one.iter().zip(two).any(|(a, b)| a > b)
}

/// Puts a program into a front, and takes out what it beats. When there are more than `room`, the most crowded leaves.
pub(crate) fn join(front: &mut Vec<Slot>, entries: &Entries, slot: Slot, room: usize) {
    let objectives = &entries.get(slot).objectives;
    let beaten = |by: Slot| {
        let other = &entries.get(by).objectives;
        dominates(other, objectives) || other == objectives
    };
    if objectives.is_empty() || front.iter().any(|other| beaten(*other)) {
        return;
    }
    front.retain(|other| !dominates(objectives, &entries.get(*other).objectives));
    front.push(slot);
    if front.len() > room {
        let crowding = crowding(entries, front);
        let most = (0..front.len()).min_by(|a, b| crowding[*a].total_cmp(&crowding[*b]));
        if let Some(most) = most {
            front.remove(most);
        }
    }
}

/// The less crowded of two programs drawn from a front.
pub(crate) fn draw(entries: &Entries, front: &[Slot], rng: &mut impl Rng) -> Option<Slot> {
    if front.is_empty() {
        return None;
    }
    let (one, two) = (rng.random_range(0..front.len()), rng.random_range(0..front.len()));
    let crowding = crowding(entries, front);
    Some(front[if crowding[two] > crowding[one] { two } else { one }])
}

/// A front, the least crowded first.
pub(crate) fn spread(entries: &Entries, front: &[Slot]) -> Vec<Slot> {
    let crowding = crowding(entries, front);
    let mut order: Vec<usize> = (0..front.len()).collect();
    order.sort_by(|a, b| crowding[*b].total_cmp(&crowding[*a]));
    order.into_iter().map(|at| front[at]).collect()
}

/// The crowding distance of each program in a front: the sum over the objectives of the distance between its two
/// neighbours, as a share of the whole range; infinite at the ends.
fn crowding(entries: &Entries, front: &[Slot]) -> Vec<f64> {
    let mut distances = vec![0.0; front.len()];
    let count = front.first().map_or(0, |slot| entries.get(*slot).objectives.len());
    for objective in 0..count {
        let value = |at: usize| entries.get(front[at]).objectives[objective];
        let mut order: Vec<usize> = (0..front.len()).collect();
        order.sort_by(|a, b| value(*a).total_cmp(&value(*b)));
        let (Some(first), Some(last)) = (order.first(), order.last()) else { continue };
        // Halves, because the width of a range of finite numbers may be infinite.
        let width = value(*last) / 2.0 - value(*first) / 2.0;
        distances[*first] = f64::INFINITY;
        distances[*last] = f64::INFINITY;
        for around in order.windows(3) {
            let gap = (value(around[2]) / 2.0 - value(around[0]) / 2.0) / width;
            distances[around[1]] += if gap.is_finite() { gap } else { 0.0 };
        }
    }
    distances
}
