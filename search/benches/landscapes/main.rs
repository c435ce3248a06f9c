//! Evaluations that each strategy needs on synthetic landscapes: `make bench-search`.
//!
//! A run asks, lets a stand-in for a model answer, evaluates, and tells, until the program that the search holds for the
//! best has truly reached the target, or the budget is spent. Every strategy gets the same model, the same landscapes and the
//! same seeds. `docs/search.md` says what came out.
//!
//! Arguments: `--seeds N`, `--only NAME` (a landscape or a strategy), `--set YAML` (a strategy of your own, beside the rest).

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods)]

mod landscape;
mod model;
mod statistics;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use search::{
    Fingerprint, Language, Measured, Outcome, ProgramId, Proposal, Score, Search, SearchConfig, Verdict,
};

use crate::landscape::{ALL, Family, Instance, Landscape};

/// Evaluations after which a run counts as not having reached the target. Programs that don't compile count too: a model
/// was paid for them.
const BUDGET: u64 = 5000;

/// The first seed. The default configuration was chosen on seeds 1 to 15; what is reported must not be those.
const FIRST_SEED: u64 = 1001;

/// Strategies by name, as a configuration would set them.
const STRATEGIES: [(&str, &str); 9] = [
    ("default", "{}"),
    ("sequential", "{ selection: sequential }"),
    ("independent", "{ selection: independent }"),
    ("mixture", "{ num_islands: 5, selection: mixture, stagnation: { patience: 0 } }"),
    ("power_law", "{ selection: { power_law: {} } }"),
    ("weighted", "{ selection: { weighted: {} } }"),
    ("tournament", "{ selection: { tournament: {} } }"),
    ("pareto", "{ selection: { pareto: { objectives: [{ metric: score }, { metric: distance }] } } }"),
    ("no answers", "{ stagnation: { max_widening: 0, answer: widen } }"),
];

/// Evaluations until the best program had truly reached the target.
fn run(landscape: Landscape, config: &SearchConfig, seed: u64) -> u64 {
    let instance = Instance::new(landscape, seed);
    let mut search = Search::new(config.clone(), Language::Rust, seed).unwrap();
    let mut genomes: BTreeMap<u64, model::Genome> = BTreeMap::new();
    for number in 0..BUDGET {
        let ask = search.ask(number);
        let mut rng = ChaCha8Rng::seed_from_u64(ask.as_ref().map_or(seed, |ask| ask.seed));
        let genome = match &ask {
            None => Some(instance.initial()),
            Some(ask) => {
                let shown: Vec<_> = ask.inspirations.iter().map(|id| &genomes[&id.0]).collect();
                model::propose(&genomes[&ask.parent.0], &shown, ask.widening, &mut rng)
            }
        };
        let outcome = match genome.as_ref().map(|genome| instance.loss(genome)) {
            None => Outcome::Compile { message: "error".into() },
            Some(None) => Outcome::Rejected { reason: "invalid".into() },
            Some(Some(loss)) => measured(&instance, genome.as_deref().unwrap_or_default(), loss, &mut rng),
        };
        let parent = ask.as_ref().and_then(|ask| search.get(ask.parent));
        search.tell_proposal(
            Proposal {
                id: ProgramId(number),
                parent: ask.as_ref().map(|ask| ask.parent),
                island: ask.as_ref().map_or(0, |ask| ask.island),
                generation: parent.map_or(0, |parent| parent.generation + 1),
                code: genome.as_ref().map(|genome| Fingerprint::of(&model::source(genome), Language::Rust)),
                proposer: "llm".into(),
                operator: "edit".into(),
                model: None,
                cost: None,
                repairs: None,
            },
            &outcome,
        );
        genomes.extend(genome.map(|genome| (number, genome)));
        let best = search.best().and_then(|best| instance.loss(&genomes[&best.id.0]));
        if best.is_some_and(|loss| loss <= landscape.target) {
            return number;
        }
    }
    BUDGET
}

fn measured(instance: &Instance, genome: &[f64], loss: f64, rng: &mut ChaCha8Rng) -> Outcome {
    let noise = instance.landscape.noise;
    let distance = genome.iter().zip(instance.initial()).map(|(x, start)| (x - start).abs()).sum();
    let score = (noise * model::normal(rng)).exp() / (1.0 + loss);
    Outcome::Measured(Measured {
        score: Score::new(score).unwrap(),
        verdict: Verdict::Inconclusive,
        metrics: BTreeMap::from([("distance".to_owned(), distance)]),
        effects: Vec::new(),
        reason: String::new(),
        score_error: (noise > 0.0).then_some(noise),
    })
}

type Results = BTreeMap<(usize, usize), Vec<u64>>;

/// Every strategy on every landscape, on all cores.
fn run_all(landscapes: &[Landscape], strategies: &[(String, SearchConfig)], seeds: u64) -> Results {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Results::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    let (at, strategy) = (job / strategies.len(), job % strategies.len());
                    let Some(landscape) = landscapes.get(at) else { break };
                    let needed =
                        (0..seeds).map(|seed| run(*landscape, &strategies[strategy].1, FIRST_SEED + seed));
                    let needed = needed.collect();
                    results.lock().unwrap().insert((at, strategy), needed);
                }
            });
        }
    });
    results.into_inner().unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| arguments.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone());
    let seeds = value("--seeds").map_or(31, |text| text.parse().unwrap());
    let only = value("--only");
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only.split(',').any(|it| it == name));
    let landscapes: Vec<Landscape> = {
        let named: Vec<_> = ALL.into_iter().filter(|it| wanted(it.name)).collect();
        if named.is_empty() { ALL.to_vec() } else { named }
    };
    let config = |yaml: &str| serde_yaml::from_str::<SearchConfig>(yaml).unwrap();
    let mut strategies: Vec<(String, SearchConfig)> =
        STRATEGIES.iter().map(|(name, yaml)| ((*name).to_owned(), config(yaml))).collect();
    if strategies.iter().any(|(name, _)| only.is_some() && wanted(name)) {
        strategies.retain(|(name, _)| wanted(name));
    }
    for pair in arguments.windows(2).filter(|pair| pair[0] == "--set") {
        strategies.push((pair[1].clone(), config(&pair[1])));
    }
    let results = run_all(&landscapes, &strategies, seeds);
    print_table(&landscapes, &strategies, &results, seeds);
    print_comparison(&landscapes, &strategies, &results);
}

fn print_table(
    landscapes: &[Landscape],
    strategies: &[(String, SearchConfig)],
    results: &Results,
    seeds: u64,
) {
    println!("Median evaluations to the target over {seeds} seeds, with 95 % intervals; budget {BUDGET}.\n");
    let names: Vec<&str> = strategies.iter().map(|(name, _)| name.as_str()).collect();
    println!("| landscape | family | {} |", names.join(" | "));
    println!("|---|---|{}", "---|".repeat(names.len()));
    let text = |value: u64| if value >= BUDGET { format!(">{BUDGET}") } else { value.to_string() };
    for (at, landscape) in landscapes.iter().enumerate() {
        let cells: Vec<String> = (0..strategies.len())
            .map(|strategy| {
                let (median, low, high) = statistics::median(&results[&(at, strategy)]);
                format!("{} ({}-{})", text(median), text(low), text(high))
            })
            .collect();
        println!("| {} | {:?} | {} |", landscape.name, landscape.family, cells.join(" | "));
    }
}

/// How the first strategy does against each other one.
fn print_comparison(landscapes: &[Landscape], strategies: &[(String, SearchConfig)], results: &Results) {
    for (other, (name, _)) in strategies.iter().enumerate().skip(1) {
        let mut hard = Vec::new();
        let mut losses = Vec::new();
        for (at, landscape) in landscapes.iter().enumerate() {
            let (mine, theirs) = (&results[&(at, 0)], &results[&(at, other)]);
            let ratio = statistics::median(theirs).0 as f64 / statistics::median(mine).0.max(1) as f64;
            if matches!(landscape.family, Family::Multimodal | Family::Deceptive) {
                hard.push(ratio);
            }
            // One-sided at 5 %.
            if statistics::rank_sum(mine, theirs) > 1.645 {
                losses.push(format!("{} (x{ratio:.2})", landscape.name));
            }
        }
        hard.sort_by(f64::total_cmp);
        let middle = |at: usize| hard.get(at).copied().unwrap_or(f64::NAN);
        let median = f64::midpoint(middle(hard.len().saturating_sub(1) / 2), middle(hard.len() / 2));
        let losses = if losses.is_empty() { "none".to_owned() } else { losses.join(", ") };
        println!(
            "\n{} against {name}: {median:.2} times fewer evaluations in the median over multimodal and deceptive \
             landscapes; slower beyond chance on: {losses}",
            strategies[0].0
        );
    }
}
