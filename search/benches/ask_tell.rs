//! What one step of a search costs with many programs told already, and what a replay costs.
//!
//! `cargo bench -p search`. Goals: a median of at most 50 µs for ask and tell together, and 100 000 programs
//! replayed in less than a second. Both are measured with short programs (about 300 bytes, where search itself shows)
//! and with ones as long as a kernel (about 3 KB, where splitting the source into tokens does).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use search::{Language, Measured, Outcome, Program, ProgramId, Score, Search, SearchConfig, Verdict};

fn main() {
    divan::main();
}

/// Statements of about 38 bytes each.
const SHORT: usize = 8;
const LONG: usize = 80;

/// A history to tell: programs that change one statement of their parents, a third of which fail.
struct History {
    rng: ChaCha8Rng,
    statements: usize,
}

impl History {
    fn new(statements: usize) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(1), statements }
    }

    fn program(&mut self, number: u64, parent: Option<ProgramId>, island: usize) -> (Program, Outcome) {
        let changed = self.rng.random_range(0..self.statements);
        let mut source = String::new();
        for i in 0..self.statements + self.rng.random_range(0..8) {
            let value = if i == changed { number } else { i as u64 };
            let _ = writeln!(source, "let x{i} = scale(&weight, {value}, a + b)?;");
        }
        let outcome = if parent.is_some() && self.rng.random_bool(1.0 / 3.0) {
            Outcome::Compile { message: "mismatched types".into() }
        } else {
            let score = Score::new(1.0 + self.rng.random::<f64>()).unwrap_or_else(|error| panic!("{error}"));
            Outcome::Measured(Measured {
                score,
                verdict: Verdict::Inconclusive,
                metrics: BTreeMap::from([("tokens_per_second".into(), score.get())]),
                effects: Vec::new(),
                reason: String::new(),
                score_error: None,
            })
        };
        (Program { id: ProgramId(number), parent, island, generation: 0, source }, outcome)
    }

    /// As many as asked for, with parents chosen as a search would choose them.
    fn programs(&mut self, config: &SearchConfig, count: u64) -> Vec<(Program, Outcome)> {
        let mut search = new_search(config);
        (0..count)
            .map(|number| {
                let ask = search.ask(number);
                let (program, outcome) = self.program(
                    number,
                    ask.as_ref().map(|ask| ask.parent),
                    ask.as_ref().map_or(0, |ask| ask.island),
                );
                search.tell(&program, &outcome);
                (program, outcome)
            })
            .collect()
    }
}

fn new_search(config: &SearchConfig) -> Search {
    Search::new(config.clone(), Language::Rust, 42).unwrap_or_else(|error| panic!("{error}"))
}

fn replay(config: &SearchConfig, programs: &[(Program, Outcome)]) -> Search {
    let mut search = new_search(config);
    for (program, outcome) in programs {
        search.tell(program, outcome);
    }
    search
}

/// The default, and one island that keeps every program as a possible parent.
fn configuration(population: &str) -> SearchConfig {
    match population {
        "unbounded" => SearchConfig { num_islands: 1, population_size: 1_000_000, ..SearchConfig::default() },
        _ => SearchConfig::default(),
    }
}

const CASES: [(u64, usize, &str); 5] = [
    (10_000, SHORT, "default"),
    (100_000, SHORT, "default"),
    (100_000, SHORT, "unbounded"),
    (10_000, LONG, "default"),
    (100_000, LONG, "default"),
];

#[divan::bench(args = CASES.map(Case), sample_count = 5000, sample_size = 1)]
fn ask_and_tell(bencher: Bencher<'_, '_>, Case((count, statements, population)): Case) {
    let config = configuration(population);
    let mut history = History::new(statements);
    let programs = history.programs(&config, count);
    let search = RefCell::new(replay(&config, &programs));
    drop(programs);
    let mut number = count;
    bencher
        .with_inputs(|| {
            let ask = search.borrow().ask(number);
            let (program, outcome) = history.program(
                number,
                ask.as_ref().map(|ask| ask.parent),
                ask.as_ref().map_or(0, |ask| ask.island),
            );
            number += 1;
            (program, outcome)
        })
        .bench_local_values(|(program, outcome)| {
            let mut search = search.borrow_mut();
            black_box(search.ask(program.id.0));
            search.tell(&program, &outcome)
        });
}

#[divan::bench(args = [Case((100_000, SHORT, "default")), Case((100_000, LONG, "default"))], sample_count = 5, sample_size = 1)]
fn replay_all(bencher: Bencher<'_, '_>, Case((count, statements, population)): Case) {
    let config = configuration(population);
    let programs = History::new(statements).programs(&config, count);
    bencher.counter(ItemsCount::new(count)).bench_local(|| replay(&config, &programs));
}

/// A case with a readable name.
#[derive(Clone, Copy)]
struct Case((u64, usize, &'static str));

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self((count, statements, population)) = self;
        write!(f, "{count} told, {statements} statements, {population} population")
    }
}
