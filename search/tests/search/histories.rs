//! What must hold whatever happens: random histories, checked after every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use search::{
    Added, Answer, Ask, Bandit, Entry, IslandView, Objective, Outcome, Policy, Program, ProgramId, Search,
    SearchConfig, Selection, Stagnation, Topology, Tune,
};

use crate::history::{failed, measured};

/// How a proposal ends.
#[derive(Debug, Clone)]
enum Event {
    /// No program came of it.
    Nothing,
    /// A program that fails.
    Failed,
    /// A measured program: which code, its score and perhaps its speed.
    Measured { code: u8, length: u8, score: f64, speed: Option<f64> },
    /// A program that was measured is measured again.
    Again { which: u8, score: f64 },
}

fn event() -> impl Strategy<Value = Event> {
    let score = prop_oneof![
        4 => -2.0..2.0,
        3 => prop::sample::select(vec![-1.0, 0.0, 1.0, 1.5]),
        1 => prop::sample::select(vec![-1e308, 1e308, -1e-300, 5e-324]),
    ];
    let speed = prop::option::weighted(0.8, prop_oneof![0.0..10.0, -1e6..1e6]);
    prop_oneof![
        1 => Just(Event::Nothing),
        2 => Just(Event::Failed),
        1 => (any::<u8>(), -2.0..2.0).prop_map(|(which, score)| Event::Again { which, score }),
        8 => (any::<u8>(), 0_u8..60, score, speed)
            .prop_map(|(code, length, score, speed)| Event::Measured { code, length, score, speed }),
    ]
}

fn selection() -> impl Strategy<Value = Selection> {
    let objective = |metric: &str, minimize| Objective { metric: metric.into(), minimize };
    prop_oneof![
        (0.0..=1.0, 0.0..=1.0).prop_map(|(least, most)| Selection::Adaptive { least, most }),
        Just(Selection::Mixture),
        (0.0..4.0).prop_map(|exponent| Selection::PowerLaw { exponent }),
        (0.0..20.0).prop_map(|sharpness| Selection::Weighted { sharpness }),
        (1_usize..5).prop_map(|size| Selection::Tournament { size }),
        Just(Selection::Pareto { objectives: vec![objective("score", false), objective("speed", true)] }),
        Just(Selection::Independent),
        Just(Selection::Sequential),
    ]
}

/// What came after the first release, each by chance on or off.
fn extras() -> impl Strategy<Value = (Selection, Stagnation, Topology, Bandit, f64)> {
    let answers = prop::sample::select(vec![Answer::Widen, Answer::Restart, Answer::Spawn]);
    let stagnation = (0_u64..8, 0_u32..3, answers, 1_usize..5).prop_map(
        |(patience, max_widening, answer, max_islands)| Stagnation {
            patience,
            max_widening,
            answer,
            max_islands,
        },
    );
    let topologies = prop::sample::select(vec![Topology::Ring, Topology::Random, Topology::Star]);
    let bandit =
        prop::sample::select(vec![Policy::Fixed, Policy::Ucb, Policy::Thompson]).prop_map(|policy| Bandit {
            policy,
            window: 10,
            operators: [("edit".to_owned(), 1.0), ("crossover".to_owned(), 0.5)].into(),
            ..Bandit::default()
        });
    (selection(), stagnation, topologies, bandit, 0.0..0.5)
}

fn config() -> impl Strategy<Value = SearchConfig> {
    let dimensions = prop::sample::select(vec!["complexity", "diversity", "score", "speed"]);
    (
        1_usize..4,
        0_usize..40,
        1_usize..10,
        (0.0..1.0, 0.0..1.0, 0.0..=1.0, 0.0..=1.0),
        0_usize..6,
        prop::collection::btree_set(dimensions, 1..4),
        1_usize..5,
        1_usize..6,
        0_u64..6,
        extras(),
    )
        .prop_map(
            |(
                islands,
                room,
                archive,
                ratios,
                inspirations,
                dimensions,
                bins,
                references,
                interval,
                extras,
            )| {
                let (selection, stagnation, exchange_topology, bandit, tune) = extras;
                let (exploration, exploitation, elite, exchange) = ratios;
                SearchConfig {
                    num_islands: islands,
                    population_size: islands + room,
                    archive_size: archive,
                    exploration_ratio: exploration,
                    exploitation_ratio: exploitation * (1.0 - exploration),
                    num_inspirations: inspirations,
                    elite_selection_ratio: elite,
                    feature_dimensions: dimensions.into_iter().map(str::to_owned).collect(),
                    feature_bins: search::FeatureBins::All(bins),
                    diversity_reference_size: references,
                    exchange_interval: interval,
                    exchange_rate: exchange,
                    selection,
                    stagnation,
                    exchange_topology,
                    bandit,
                    tune: Tune { share: tune, ..Tune::default() },
                    ..SearchConfig::default()
                }
            },
        )
}

fn source(code: u8, length: u8) -> String {
    let mark = if code.is_multiple_of(3) {
        format!("let n = {}; // @tune {0} [1..200] log\n", code / 3 + 1)
    } else {
        String::new()
    };
    (0..length.max(1)).fold(format!("{mark}start({});", code % 40), |text, i| {
        format!("{text} let x{} = f({});", i, i / (code % 5 + 1))
    })
}

/// One call to `tell`, to be repeated in a replay.
#[derive(Debug, Clone)]
enum Told {
    Program(Program, Outcome),
    Nothing(ProgramId, ProgramId, usize, Outcome),
    Again(ProgramId, Outcome),
}

impl Told {
    fn tell(&self, search: &mut Search) -> Added {
        match self {
            Self::Program(program, outcome) => search.tell(program, outcome),
            Self::Nothing(id, parent, island, outcome) => {
                search.tell_without_program(*id, *parent, *island, outcome)
            }
            Self::Again(id, outcome) => {
                search.tell_again(*id, outcome);
                Added::AlreadyTold
            }
        }
    }

    fn id(&self) -> ProgramId {
        match self {
            Self::Program(program, _) => program.id,
            Self::Nothing(id, ..) | Self::Again(id, _) => *id,
        }
    }
}

/// Plays a history as a run loop with this lookahead does. Returns all that was told, and all asks with the number of
/// tellings before each.
fn play(search: &mut Search, events: &[Event], lookahead: usize) -> (Vec<Told>, Vec<(usize, Ask)>) {
    let mut history = Vec::new();
    let mut asks = Vec::new();
    let mut waiting: VecDeque<Told> = VecDeque::new();
    let mut next = 0;
    for event in events {
        if let Event::Again { which, score } = event {
            let count = search.entries().count();
            if count > 0 {
                let id = search.entries().nth(usize::from(*which) % count).unwrap().id;
                let told = Told::Again(id, measured(*score, None));
                told.tell(search);
                history.push(told);
                check_state(search, &history);
            }
            continue;
        }
        let number = next;
        next += 1;
        let ask = search.ask(number);
        assert_eq!(ask.is_none(), search.told() == 0, "an ask needs the initial program, and no more");
        let generation =
            ask.as_ref().map_or(0, |ask| search.get(ask.parent).map_or(0, |parent| parent.generation) + 1);
        let program = |source: String| Program {
            id: ProgramId(number),
            parent: ask.as_ref().map(|ask| ask.parent),
            island: ask.as_ref().map_or(0, |ask| ask.island),
            generation,
            source,
        };
        waiting.push_back(match (event, &ask) {
            (Event::Nothing, Some(ask)) => {
                let outcome = Outcome::NoProposal { reason: "no answer".into() };
                Told::Nothing(ProgramId(number), ask.parent, ask.island, outcome)
            }
            (Event::Nothing | Event::Failed | Event::Again { .. }, _) => {
                Told::Program(program(source(0, 0)), failed())
            }
            (Event::Measured { code, length, score, speed }, _) => {
                Told::Program(program(source(*code, *length)), measured(*score, *speed))
            }
        });
        if let Some(ask) = ask {
            check_ask(search, &ask);
            asks.push((history.len(), ask));
        }
        // The initial program is told before anything is asked for.
        while waiting.len() >= lookahead || (history.is_empty() && !waiting.is_empty()) {
            let Some(told) = waiting.pop_front() else { break };
            let added = told.tell(search);
            history.push(told);
            check_added(search, &history, added);
            check_state(search, &history);
        }
    }
    (history, asks)
}

fn check_ask(search: &Search, ask: &Ask) {
    let config = search.config();
    let islands: Vec<_> = search.islands().collect();
    let island = islands[ask.island];
    assert!(island.is_active(), "no proposal is made for an island that was given up");
    if config.stagnation.patience == 0 {
        assert_eq!(ask.island, (ask.number % islands.len() as u64) as usize);
    }
    assert!(ask.widening <= config.stagnation.max_widening);
    let population: BTreeSet<_> = island.population().map(|entry| entry.id).collect();
    if population.is_empty() || ask.tune.is_some() || config.selection == Selection::Independent {
        assert!(ask.inspirations.is_empty());
        let known =
            search.get(ask.parent).is_some_and(|entry| ask.tune.is_none() || entry.island == ask.island);
        assert!(known || ask.parent == ProgramId::INITIAL || population.contains(&ask.parent));
        return;
    }
    let front: BTreeSet<_> = island.front().map(|entry| entry.id).collect();
    let is_pareto = matches!(config.selection, Selection::Pareto { .. });
    let pool = if is_pareto { &front } else { &population };
    assert!(pool.contains(&ask.parent), "a parent lives on the island that is asked for");
    let shown: Vec<&Entry> =
        [ask.parent].iter().chain(&ask.inspirations).map(|id| search.get(*id).unwrap()).collect();
    let codes: BTreeSet<_> = shown.iter().map(|entry| entry.hash).collect();
    assert_eq!(codes.len(), shown.len(), "no code is shown twice");
    assert!(ask.inspirations.len() <= search.config().num_inspirations);
    assert!(shown[1..].is_sorted_by(|one, two| one.score >= two.score), "inspirations come best first");
    let available: BTreeSet<_> = island.population().map(|entry| entry.hash).collect();
    if is_pareto {
        return;
    }
    let possible = search.config().num_inspirations.min(available.len() - 1);
    // A large population is only sampled.
    if population.len() <= 12 {
        assert!(ask.inspirations.len() >= possible, "all that could be shown was");
    }
}

fn check_added(search: &Search, history: &[Told], added: Added) {
    let told = history.last().unwrap();
    let id = told.id();
    let Some(entry) = search.get(id) else {
        assert_eq!(added, Added::Failed);
        return;
    };
    let island = search.islands().nth(entry.island).unwrap();
    let is_elite = island.elites().any(|elite| elite.id == id);
    assert_eq!(is_elite, matches!(added, Added::NewCell | Added::Improved { .. }));
    if let Added::Improved { over } = added {
        let over = search.get(over).unwrap();
        assert!(over.score < entry.score);
        assert_eq!(island.bins_of(over), island.bins_of(entry));
    }
    let lives = island.population().any(|other| other.id == id);
    assert_eq!(lives, added != Added::NotAdded);
    assert_eq!(told.tell(&mut search.clone()), Added::AlreadyTold);
}

fn check_state(search: &Search, history: &[Told]) {
    let told = history.iter().filter(|told| !matches!(told, Told::Again(..))).count();
    assert_eq!(search.told(), told);
    assert_eq!(search.outcomes().values().sum::<u64>(), told as u64);
    let mut again = BTreeMap::<ProgramId, Vec<f64>>::new();
    for told in history {
        if let Told::Again(id, outcome) = told {
            again.entry(*id).or_default().push(outcome.score().unwrap().get());
        }
    }
    let mut failures = BTreeMap::<ProgramId, Vec<ProgramId>>::new();
    let mut best: Option<&Entry> = None;
    for told in history {
        assert!(search.is_told(told.id()), "{} is lost", told.id());
        match told {
            Told::Program(program, outcome) if outcome.score().is_some() => {
                let entry = search.get(program.id).expect("a measured program is known for ever");
                let first = outcome.score().unwrap().get();
                match again.get(&program.id) {
                    None => assert_eq!(entry.score.get().to_bits(), first.to_bits()),
                    Some(others) => {
                        let count = others.len() as f64 + 1.0;
                        let mean = first / count + others.iter().sum::<f64>() / count;
                        assert!((entry.score.get() - mean).abs() <= 1e-9 * (1.0 + mean.abs()));
                    }
                }
                assert_eq!((entry.parent, entry.generation), (program.parent, program.generation));
                if best.is_none_or(|best| entry.score > best.score) {
                    best = Some(entry);
                }
            }
            Told::Program(Program { id, parent: Some(parent), .. }, _) | Told::Nothing(id, parent, ..) => {
                failures.entry(*parent).or_default().push(*id);
            }
            Told::Program(..) | Told::Again(..) => {}
        }
    }
    assert_eq!(search.best().map(|entry| entry.id), best.map(|entry| entry.id));
    for (parent, failed) in failures {
        assert_eq!(search.failure_count(parent), failed.len() as u64);
        let latest = failed[failed.len().saturating_sub(32)..].to_vec();
        assert_eq!(search.failures_of(parent).collect::<Vec<_>>(), latest);
    }
    for island in search.islands() {
        check_island(search, island);
    }
    let config = search.config();
    let active = search.islands().filter(IslandView::is_active).count();
    assert!((1..=config.num_islands.max(config.stagnation.max_islands)).contains(&active));
    check_bins(search);
}

/// The bins divide what has been seen: the extremes lie in the first and in the last.
fn check_bins(search: &Search) {
    let Some(island) = search.islands().next() else { return };
    for (axis, name) in search.config().feature_dimensions.iter().enumerate() {
        let last = search.config().feature_bins.along(name) - 1;
        let mut values: Vec<(f64, usize)> = search
            .entries()
            .filter_map(|entry| Some((entry.features[axis]?, island.bins_of(entry)[axis].unwrap())))
            .collect();
        values.sort_by(|one, two| one.0.total_cmp(&two.0));
        assert!(values.is_sorted_by_key(|(_, bin)| *bin), "{name}: bins are in the order of values");
        if let (Some((low, first)), Some((high, end))) = (values.first(), values.last())
            && high / 2.0 > low / 2.0
        {
            assert_eq!((*first, *end), (0, last), "{name}: from {low:e} to {high:e}");
        }
    }
}

fn check_island(search: &Search, island: IslandView<'_>) {
    let config = search.config();
    let rank = |one: &Entry, two: &Entry| two.score.cmp(&one.score).then(one.id.cmp(&two.id));

    // Everything made here is a member; everything else came along the ring, and no code twice.
    let members: Vec<&Entry> = island.members().collect();
    let ids: BTreeSet<_> = members.iter().map(|entry| entry.id).collect();
    assert_eq!(ids.len(), members.len(), "nobody is a member twice");
    let first = if config.selection.is_control() { 1 } else { config.num_islands };
    let before = (island.index() + first - 1) % first;
    for entry in search.entries() {
        let belongs = entry.island == island.index() || (entry.parent.is_none() && island.index() < first);
        assert!(!belongs || ids.contains(&entry.id), "{} is missing on its island", entry.id);
        if !belongs && ids.contains(&entry.id) {
            if config.stagnation.patience == 0 && config.exchange_topology == Topology::Ring {
                assert_eq!(entry.island, before, "exchange goes along the ring, one step");
            }
            let same = members.iter().filter(|other| other.hash == entry.hash && other.id < entry.id).count();
            assert_eq!(same, 0, "an exchange brought code that was there");
        }
    }

    // Every elite is the best of all that ever fell into its cell, under the bins of today.
    let mut cells = BTreeMap::<Vec<Option<usize>>, &Entry>::new();
    for entry in &members {
        let elite = cells.entry(island.bins_of(entry)).or_insert(entry);
        if rank(entry, elite).is_lt() {
            *elite = entry;
        }
    }
    let elites: BTreeMap<_, _> = island.cells().map(|cell| (cell.bins, cell.elite.id)).collect();
    let expected: BTreeMap<_, _> = cells.iter().map(|(bins, entry)| (bins.clone(), entry.id)).collect();
    assert_eq!(elites, expected);

    // The lists agree with the grid and are in order.
    let list: Vec<&Entry> = island.elites().collect();
    assert!(list.is_sorted_by(|one, two| rank(one, two).is_lt()));
    assert_eq!(list.len(), elites.len());
    assert!(island.archive().len() <= config.archive_size);
    let population: Vec<&Entry> = island.population().collect();
    assert!(population.is_sorted_by(|one, two| rank(one, two).is_lt()));
    let lives: BTreeSet<_> = population.iter().map(|entry| entry.id).collect();
    assert!(elites.values().all(|elite| lives.contains(elite)), "an elite was evicted");
    assert!(lives.is_subset(&ids));
    let capacity = config.population_size / config.num_islands;
    assert!(population.len() <= capacity.max(elites.len()), "the population is bounded");
    assert!(population.len() >= capacity.min(members.len()), "nobody leaves while there is room");
    let best = members.iter().copied().min_by(|one, two| rank(one, two));
    assert_eq!(island.best().map(|entry| entry.id), best.map(|entry| entry.id));
    assert_eq!(population.first().map(|entry| entry.id), best.map(|entry| entry.id), "the best was evicted");
}

proptest! {
    #[test]
    fn a_search_keeps_its_promises_and_a_replay_asks_the_same(
        config in config(),
        seed in any::<u64>(),
        lookahead in 1_usize..5,
        events in prop::collection::vec(event(), 1..80),
    ) {
        let language = search::Language::Rust;
        let mut search = Search::new(config.clone(), language, seed).unwrap();
        let (history, asks) = play(&mut search, &events, lookahead);

        let mut replayed = Search::new(config, language, seed).unwrap();
        let mut told = 0;
        for (told_before, ask) in &asks {
            for outcome in &history[told..*told_before] {
                outcome.tell(&mut replayed);
            }
            told = *told_before;
            let again = replayed.ask(ask.number);
            prop_assert_eq!(again.as_ref(), Some(ask));
        }
        for outcome in &history[told..] {
            outcome.tell(&mut replayed);
        }
        for number in 0..20 {
            prop_assert_eq!(replayed.ask(number), search.ask(number));
        }
    }
}
