//! Counts the steps that a candidate's `sort` takes on lists of seven kinds, and prints them as JSON.

use std::cell::Cell;

/// A list that can only be compared and exchanged, and counts both.
pub struct Slots {
    values: Vec<u32>,
    steps: Cell<u64>,
}

/// A sort that takes more steps than this on one list is stuck.
const LIMIT: u64 = 2_000_000;
const LENGTH: usize = 512;

impl Slots {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether the value at `a` is smaller than that at `b`. One step.
    pub fn less(&self, a: usize, b: usize) -> bool {
        self.step();
        self.values[a] < self.values[b]
    }

    /// Exchanges the values at `a` and `b`. One step.
    pub fn swap(&mut self, a: usize, b: usize) {
        self.step();
        self.values.swap(a, b);
    }

    fn step(&self) {
        self.steps.set(self.steps.get() + 1);
        assert!(self.steps.get() <= LIMIT, "more than {LIMIT} steps");
    }
}

mod candidate {
    use super::Slots;
    include!(env!("CANDIDATE"));
}

/// A generator of our own (xorshift), so that the lists are the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn list(kind: &str, numbers: &mut Numbers) -> Vec<u32> {
    let ascending = || (0..LENGTH as u32).collect::<Vec<_>>();
    let mut values = ascending();
    match kind {
        "random" => values.iter_mut().for_each(|value| *value = numbers.below(1 << 30) as u32),
        "sorted" => {}
        "reversed" => values.reverse(),
        "few_values" => values.iter_mut().for_each(|value| *value = numbers.below(6) as u32),
        "nearly_sorted" => {
            for _ in 0..8 {
                let (a, b) = (numbers.below(LENGTH as u64) as usize, numbers.below(LENGTH as u64) as usize);
                values.swap(a, b);
            }
        }
        "two_runs" => values.iter_mut().for_each(|value| *value = *value * 2 % LENGTH as u32),
        _ => values.rotate_left(LENGTH / 3),
    }
    values
}

fn main() {
    let mut scores = Vec::new();
    let mut fields = Vec::new();
    for kind in ["random", "sorted", "reversed", "few_values", "nearly_sorted", "two_runs", "rotated"] {
        let values = list(kind, &mut Numbers(0x9e37_79b9_7f4a_7c15));
        let mut expected = values.clone();
        expected.sort_unstable();
        let mut slots = Slots { values, steps: Cell::new(0) };
        candidate::sort(&mut slots);
        assert!(slots.values == expected, "the {kind} list isn't sorted");
        let steps = slots.steps.get();
        // 1 is one comparison for each value, what a list that is sorted already needs.
        scores.push(LENGTH as f64 / (steps.max(1) as f64));
        fields.push(format!("\"steps_{kind}\": {steps}"));
    }
    // The geometric mean: no kind of list can be bought with another.
    let score = (scores.iter().map(|score| score.ln()).sum::<f64>() / scores.len() as f64).exp();
    println!("{{\"score\": {score}, {}}}", fields.join(", "));
}
