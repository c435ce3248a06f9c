//! What a search of 100 000 programs holds in memory, how long its replay takes without sources, and one step after it.
//!
//! `cargo bench -p search --bench memory`. Goals: at most 1 KB a program beside the source, and less than a second.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    unsafe_code,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use search::{
    Fingerprint, Language, Measured, Outcome, ProgramId, Proposal, Score, Search, SearchConfig, Verdict,
};

/// Counts the bytes that are held.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes every call on to the system's allocator, and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Seconds that this process has computed, which other processes on the machine don't change; 0 where Linux doesn't say.
fn computing_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default() / 1e9
}

const PROGRAMS: u64 = 100_000;
/// Statements of about 38 bytes: a kernel of 3 KB.
const STATEMENTS: u64 = 80;

fn proposal(search: &Search, number: u64) -> (Proposal, Outcome) {
    let ask = search.ask(number);
    let mut source = String::new();
    for i in 0..STATEMENTS + number % 8 {
        let value = if i == number % STATEMENTS { number } else { i };
        let _ = writeln!(source, "let x{i} = scale(&weight, {value}, a + b)?;");
    }
    let outcome = if number % 3 == 2 {
        Outcome::Compile { message: "mismatched types".into() }
    } else {
        // Without a pattern, and the same each time.
        let score = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64 / u64::MAX as f64;
        Outcome::Measured(Measured {
            score: Score::new(1.0 + score).unwrap(),
            verdict: Verdict::Inconclusive,
            metrics: BTreeMap::from([("tokens_per_second".into(), score)]),
            effects: Vec::new(),
            reason: String::new(),
            score_error: Some(0.01),
        })
    };
    let proposal = Proposal {
        id: ProgramId(number),
        parent: ask.as_ref().map(|ask| ask.parent),
        island: ask.as_ref().map_or(0, |ask| ask.island),
        generation: 0,
        code: Some(Fingerprint::of(&source, Language::Rust)),
        proposer: "llm".into(),
        operator: "edit".into(),
        model: Some("m".into()),
        cost: Some(0.001),
        repairs: None,
    };
    (proposal, outcome)
}

/// How long ask and tell together take, many times after all that. (Making a fingerprint of the source is not part of it.)
fn steps(search: &mut Search) -> String {
    let mut micros: Vec<f64> = (PROGRAMS..PROGRAMS + 10_000)
        .map(|number| {
            let (proposal, outcome) = proposal(search, number);
            let started = Instant::now();
            std::hint::black_box(search.ask(number));
            search.tell_proposal(proposal, &outcome);
            started.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    micros.sort_by(f64::total_cmp);
    let at = |share: f64| micros[(share * (micros.len() - 1) as f64) as usize];
    format!(
        "ask and tell take {:.1} µs in the median, {:.1} µs at 99 %, {:.0} µs at most",
        at(0.5),
        at(0.99),
        at(1.0)
    )
}

fn main() {
    for (name, config) in [
        ("default", SearchConfig::default()),
        ("five islands", SearchConfig { num_islands: 5, ..SearchConfig::default() }),
    ] {
        let new = || Search::new(config.clone(), Language::Rust, 1).unwrap();
        let mut search = new();
        let history: Vec<(Proposal, Outcome)> = (0..PROGRAMS)
            .map(|number| {
                let (proposal, outcome) = proposal(&search, number);
                search.tell_proposal(proposal.clone(), &outcome);
                (proposal, outcome)
            })
            .collect();
        drop(search);
        // As they are stored: reading them is part of a replay.
        let history: Vec<(Proposal, Vec<u8>, Outcome)> = history
            .into_iter()
            .map(|(mut proposal, outcome)| {
                let bytes = proposal.code.take().unwrap().to_bytes();
                (proposal, bytes, outcome)
            })
            .collect();
        let before = HELD.load(Ordering::Relaxed);
        let (started, computed) = (Instant::now(), computing_seconds());
        let mut search = new();
        for (proposal, bytes, outcome) in &history {
            let code = Fingerprint::from_bytes(bytes);
            search.tell_proposal(Proposal { code, ..proposal.clone() }, outcome);
        }
        let seconds = started.elapsed().as_secs_f64();
        let computing = computing_seconds() - computed;
        let held = HELD.load(Ordering::Relaxed) - before;
        println!(
            "{name}: {PROGRAMS} programs replayed in {seconds:.2} s ({computing:.2} s of computing), {} bytes held for each, {} islands in all",
            held / PROGRAMS as usize,
            search.islands().count(),
        );
        println!("{name}: {}", steps(&mut search));
    }
}
