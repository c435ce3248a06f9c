//! What a search does, in small histories written out.

use std::collections::{BTreeMap, BTreeSet};

use search::{Added, Outcome, ProgramId, Search};

use crate::history::{child, failed, initial, measured, plain_search as search};

/// Tells the answers to asks 1, 2, ...: each a program of its own with the score that `score` gives its number.
fn tell_children(search: &mut Search, count: u64, mut score: impl FnMut(u64) -> f64) {
    for number in 1..=count {
        let ask = search.ask(number).unwrap();
        let program = child(search, &ask, &format!("f({number})"));
        search.tell(&program, &measured(score(number), None));
    }
}

/// How often each program is the parent in many asks for the same island.
fn parents(search: &Search, asks: u64) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for number in 1000..1000 + asks {
        *counts.entry(search.ask(number).unwrap().parent.0).or_default() += 1;
    }
    counts
}

const BY_SCORE: &str = "{ num_islands: 1, exploration_ratio: 0, exploitation_ratio: 0 }";

#[test]
fn nothing_can_be_asked_before_the_initial_program_is_told() {
    let mut search = search("{}", 1);
    assert_eq!(search.ask(1), None);
    assert_eq!(search.tell(&initial("f(0)"), &measured(1.0, None)), Added::NewCell);
    assert_eq!(search.ask(1).unwrap().parent, ProgramId::INITIAL);
}

#[test]
fn every_island_begins_with_the_initial_program() {
    let mut search = search("num_islands: 3", 1);
    search.tell(&initial("f(0)"), &measured(1.0, None));
    for number in 1..20 {
        let ask = search.ask(number).unwrap();
        assert_eq!(ask.parent, ProgramId::INITIAL);
        assert_eq!(ask.island as u64, number % 3);
        assert!(ask.inspirations.is_empty());
    }
}

#[test]
fn an_initial_program_that_fails_is_still_where_to_start_from() {
    let mut search = search("num_islands: 2", 1);
    assert_eq!(search.tell(&initial("f(0)"), &failed()), Added::Failed);
    let ask = search.ask(1).unwrap();
    assert_eq!(ask.parent, ProgramId::INITIAL);
    let program = child(&search, &ask, "f(1)");
    search.tell(&program, &measured(1.0, None));
    assert_eq!(search.ask(3).unwrap().parent, ProgramId(1), "island 1 has a measured program now");
    assert_eq!(search.ask(2).unwrap().parent, ProgramId::INITIAL, "island 0 doesn't");
}

#[test]
fn asks_are_independent_of_each_other_and_differ_by_number_and_seed() {
    let mut one = search("num_islands: 1", 1);
    one.tell(&initial("f(0)"), &measured(1.0, None));
    tell_children(&mut one, 50, |number| number as f64);
    let asks: Vec<_> = (100..150).map(|number| one.ask(number)).collect();
    let mut backwards: Vec<_> = (100..150).rev().map(|number| one.ask(number)).collect();
    backwards.reverse();
    assert_eq!(asks, backwards);
    let seeds: BTreeSet<_> = asks.iter().flatten().map(|ask| ask.seed).collect();
    assert_eq!(seeds.len(), 50);
    let mut two = search("num_islands: 1", 2);
    two.tell(&initial("f(0)"), &measured(1.0, None));
    assert_ne!(one.ask(100).unwrap().seed, two.ask(100).unwrap().seed);
}

#[test]
fn draws_by_score_favour_the_better_and_leave_nobody_out() {
    for shift in [0.0, -100.0, 1e6] {
        let mut search = search(BY_SCORE, 1);
        search.tell(&initial("f(0)"), &measured(shift, None));
        tell_children(&mut search, 4, |number| shift + number as f64);
        let counts = parents(&search, 4000);
        assert_eq!(counts.len(), 5, "scores around {shift}: {counts:?}");
        assert!(counts.values().is_sorted(), "scores around {shift}: {counts:?}");
        // Weights 0.05, 0.2875, 0.525, 0.7625, 1: the best is drawn 20 times as often as the worst.
        let share = counts[&4] as f64 / 4000.0;
        assert!((share - 1.0 / 2.625).abs() < 0.03, "scores around {shift}: {counts:?}");
    }
}

#[test]
fn equal_scores_are_drawn_equally_often() {
    for score in [0.0, -3.0, 1.0] {
        let mut search = search(BY_SCORE, 1);
        search.tell(&initial("f(0)"), &measured(score, None));
        tell_children(&mut search, 3, |_| score);
        let counts = parents(&search, 4000);
        assert!(counts.values().all(|count| (900..1100).contains(count)), "all {score}: {counts:?}");
    }
}

#[test]
fn exploitation_draws_from_the_best_elites_only() {
    let yaml = "{ num_islands: 1, exploration_ratio: 0, exploitation_ratio: 1, archive_size: 2, \
                feature_dimensions: [score], feature_bins: 5 }";
    let mut search = search(yaml, 1);
    search.tell(&initial("f(0)"), &measured(0.0, None));
    tell_children(&mut search, 20, |number| number as f64);
    let counts = parents(&search, 1000);
    let archive: Vec<u64> = search.islands().next().unwrap().archive().map(|entry| entry.id.0).collect();
    assert_eq!(archive.len(), 2);
    assert_eq!(archive[0], 20);
    assert_eq!(counts.keys().rev().copied().collect::<Vec<_>>(), archive, "{counts:?}");
}

#[test]
fn exploration_draws_from_all_of_the_island() {
    let mut search = search("{ num_islands: 1, exploration_ratio: 1, exploitation_ratio: 0 }", 1);
    search.tell(&initial("f(0)"), &measured(0.0, None));
    tell_children(&mut search, 9, |number| number as f64 * 100.0);
    let counts = parents(&search, 5000);
    assert!(counts.len() == 10 && counts.values().all(|count| (400..600).contains(count)), "{counts:?}");
}

#[test]
fn a_full_population_lets_the_worst_go_but_never_an_elite() {
    let mut search =
        search("{ num_islands: 1, population_size: 5, feature_dimensions: [score], feature_bins: 1 }", 1);
    search.tell(&initial("f(0)"), &measured(1.0, None));
    tell_children(&mut search, 10, |number| number as f64);
    let population: Vec<u64> =
        search.islands().next().unwrap().population().map(|entry| entry.id.0).collect();
    assert_eq!(population, [10, 9, 8, 7, 6]);
    let ask = search.ask(11).unwrap();
    let program = child(&search, &ask, "f(11)");
    assert_eq!(search.tell(&program, &measured(0.5, None)), Added::NotAdded);
    assert!(search.get(ProgramId(11)).is_some(), "it is known all the same");
}

#[test]
fn bins_that_adapt_bring_back_an_elite_that_had_left() {
    let yaml = "{ num_islands: 1, population_size: 1, feature_dimensions: [speed], feature_bins: 2 }";
    let mut search = search(yaml, 1);
    let elites = |search: &Search| search.elites().iter().map(|entry| entry.id.0).collect::<Vec<_>>();
    search.tell(&initial("f(0)"), &measured(3.0, Some(0.0)));
    let tell = |search: &mut Search, number: u64, score: f64, speed: f64| {
        let ask = search.ask(number).unwrap();
        let program = child(search, &ask, &format!("f({number})"));
        search.tell(&program, &measured(score, Some(speed)))
    };
    // The range is 0 to 1.1.
    assert_eq!(tell(&mut search, 1, 2.0, 1.0), Added::NewCell);
    // Shares a cell with program 0, and there is room for elites only.
    assert_eq!(tell(&mut search, 2, 2.5, 0.5), Added::NotAdded);
    assert_eq!(elites(&search), [0, 1]);
    // The range grows to -0.66: programs 1 and 2 share a cell now, and 2 is better.
    assert_eq!(tell(&mut search, 3, 0.5, -0.5), Added::NotAdded);
    assert_eq!(elites(&search), [0, 2]);
    let island = search.islands().next().unwrap();
    assert_eq!(island.population().map(|entry| entry.id.0).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn exchange_passes_the_best_on_to_the_next_island_and_no_code_twice() {
    let yaml = "{ num_islands: 3, exchange_interval: 2, exchange_rate: 0.01, feature_dimensions: [score] }";
    let mut search = search(yaml, 1);
    search.tell(&initial("f(0)"), &measured(0.0, None));
    for number in 1..=12 {
        let ask = search.ask(number).unwrap();
        let program = child(&search, &ask, &format!("f({number})"));
        search.tell(&program, &measured(number as f64, None));
    }
    for island in search.islands() {
        let before = (island.index() + 2) % 3;
        let strangers: Vec<_> = island
            .members()
            .filter(|entry| entry.island != island.index() && entry.parent.is_some())
            .collect();
        assert!(!strangers.is_empty());
        assert!(strangers.iter().all(|entry| entry.island == before));
        let codes: BTreeSet<_> = island.members().map(|entry| entry.hash).collect();
        assert_eq!(codes.len(), island.members().len());
    }
    // The same program, not a copy of it.
    assert_eq!(search.entries().count(), 13);
}

#[test]
fn without_an_interval_islands_stay_apart() {
    let mut search = search("{ num_islands: 2, exchange_interval: 0 }", 1);
    search.tell(&initial("f(0)"), &measured(0.0, None));
    tell_children(&mut search, 40, |number| number as f64);
    for island in search.islands() {
        assert!(island.members().all(|entry| entry.parent.is_none() || entry.island == island.index()));
    }
}

#[test]
fn failures_are_remembered_with_their_parent_and_never_become_one() {
    let mut search = search("num_islands: 1", 1);
    search.tell(&initial("f(0)"), &measured(1.0, None));
    for number in 1..=40 {
        let ask = search.ask(number).unwrap();
        assert_eq!(ask.parent, ProgramId::INITIAL);
        let added = if number % 2 == 0 {
            let program = child(&search, &ask, "broken");
            search.tell(&program, &failed())
        } else {
            let outcome = Outcome::Patch { reason: "no such line".into() };
            search.tell_without_program(ProgramId(number), ask.parent, ask.island, &outcome)
        };
        assert_eq!(added, Added::Failed);
    }
    assert_eq!(search.failure_count(ProgramId::INITIAL), 40);
    let latest: Vec<u64> = search.failures_of(ProgramId::INITIAL).map(|id| id.0).collect();
    assert_eq!(latest, (9..=40).collect::<Vec<_>>());
    let counts: Vec<_> = search.outcomes().iter().map(|(kind, count)| (*kind, *count)).collect();
    assert_eq!(counts, [("compile", 20), ("measured", 1), ("patch", 20)]);
}

#[test]
fn inspirations_show_the_best_the_ancestor_and_what_differs() {
    let yaml = "{ num_islands: 1, num_inspirations: 3, elite_selection_ratio: 0.1, exploration_ratio: 1, \
                exploitation_ratio: 0, feature_dimensions: [score], feature_bins: 1 }";
    let mut search = search(yaml, 1);
    let program = |id: u64, parent: Option<u64>, source: &str| search::Program {
        id: ProgramId(id),
        parent: parent.map(ProgramId),
        island: 0,
        generation: 0,
        source: source.into(),
    };
    search.tell(&program(0, None, "a b c d e f"), &measured(1.0, None));
    search.tell(&program(1, Some(0), "a b c d e g"), &measured(2.0, None));
    search.tell(&program(2, Some(1), "a b c d e h"), &measured(3.0, None));
    search.tell(&program(3, Some(1), "a b c d e i"), &measured(0.0, None));
    search.tell(&program(4, Some(0), "wholly other tokens stand here"), &measured(-1.0, None));
    let ask = (100..200).map(|number| search.ask(number).unwrap()).find(|ask| ask.parent.0 == 3).unwrap();
    // 2 is the best, 1 the parent of 3, 4 the farthest from all; 0 is much like the others.
    assert_eq!(ask.inspirations, [2, 1, 4].map(ProgramId));
}

#[test]
fn selection_climbs_where_there_is_something_to_climb() {
    // A number that a stand-in for a model moves by up to 5; the best lies 200 away.
    let mut search = search("num_islands: 1", 7);
    let score = |x: i64| measured(-((x - 200).abs() as f64), None);
    let mut numbers = vec![0_i64];
    search.tell(&initial("f(0)"), &score(0));
    for number in 1..=600 {
        let ask = search.ask(number).unwrap();
        let x = numbers[ask.parent.0 as usize] + (ask.seed % 11).cast_signed() - 5;
        numbers.push(x);
        let program = child(&search, &ask, &format!("f({x})"));
        search.tell(&program, &score(x));
    }
    // Without selection, 600 children of the initial program would end 195 away.
    assert!(search.best().unwrap().score.get() > -20.0, "stuck at {}", search.best().unwrap().score);
}
