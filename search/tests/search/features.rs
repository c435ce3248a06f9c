//! What the strategies, islands, arms and measurements do, in small histories.

use std::collections::{BTreeMap, BTreeSet};

use search::{
    Arm, CROSSOVER, Fingerprint, Language, Measured, Outcome, PROBE, Program, ProgramId, Proposal, REPAIR,
    Search, TUNE,
};

use crate::history::{child, failed, initial, measured, plain_search, search};

/// Tells the answers to asks `numbers`, each a program of its own with the score that `score` gives its number.
fn tell_children(
    search: &mut Search,
    numbers: std::ops::RangeInclusive<u64>,
    mut score: impl FnMut(u64) -> f64,
) {
    for number in numbers {
        let ask = search.ask(number).unwrap();
        let program = child(search, &ask, &format!("f({number})"));
        search.tell(&program, &measured(score(number), None));
    }
}

/// A search in which program n has the score n, 0 to 9, and how often each is a parent in 4000 asks.
fn parents_with(selection: &str) -> BTreeMap<u64, u64> {
    let yaml = format!("{{ num_islands: 1, stagnation: {{ patience: 0 }}, selection: {selection} }}");
    let mut search = search(&yaml, 1);
    search.tell(&initial("f(0)"), &measured(0.0, None));
    tell_children(&mut search, 1..=9, |number| number as f64);
    let mut counts = BTreeMap::new();
    for number in 1000..5000 {
        *counts.entry(search.ask(number).unwrap().parent.0).or_default() += 1;
    }
    counts
}

#[test]
fn controls_know_only_one_parent() {
    assert_eq!(parents_with("independent"), BTreeMap::from([(0, 4000)]));
    assert_eq!(parents_with("sequential"), BTreeMap::from([(9, 4000)]));
}

#[test]
fn controls_have_one_island_and_never_answer_stagnation() {
    for control in ["independent", "sequential"] {
        let mut search = search(&format!("{{ num_islands: 4, selection: {control} }}"), 1);
        search.tell(&initial("f(0)"), &measured(5.0, None));
        tell_children(&mut search, 1..=300, |_| 1.0);
        assert_eq!(search.islands().count(), 1);
        let ask = search.ask(301).unwrap();
        assert_eq!((ask.island, ask.widening, ask.parent), (0, 0, ProgramId::INITIAL));
    }
}

#[test]
fn a_power_law_prefers_by_rank() {
    let counts = parents_with("{ power_law: { exponent: 1 } }");
    assert!(counts.len() == 10 && counts[&9] > counts[&7] && counts[&7] > counts[&3], "{counts:?}");
    let ratio = counts[&9] as f64 / counts[&8] as f64;
    assert!((1.4..2.1).contains(&ratio), "{counts:?}");
    let uniform = parents_with("{ power_law: { exponent: 0 } }");
    assert!(uniform.values().all(|count| (300..500).contains(count)), "{uniform:?}");
    assert!(parents_with("{ power_law: { exponent: 3 } }")[&9] > 2500);
}

#[test]
fn a_tournament_is_won_by_the_better() {
    let counts = parents_with("{ tournament: { size: 2 } }");
    // The best wins whenever it is drawn: 19 of 100.
    assert!((0.16..0.22).contains(&(counts[&9] as f64 / 4000.0)), "{counts:?}");
}

#[test]
fn weights_by_score_and_novelty_prefer_the_good_that_have_few_children() {
    let yaml = "{ num_islands: 1, stagnation: { patience: 0 }, selection: { weighted: { sharpness: 10 } }, \
                feature_dimensions: [score], feature_bins: 10 }";
    let mut search = search(yaml, 1);
    search.tell(&initial("f(0)"), &measured(0.0, None));
    for number in 1..=9 {
        let program = Program {
            id: ProgramId(number),
            parent: Some(ProgramId::INITIAL),
            island: 0,
            generation: 1,
            source: format!("f({number})"),
        };
        search.tell(&program, &measured(number as f64, None));
    }
    for number in 10..29 {
        search.tell_without_program(ProgramId(number), ProgramId(9), 0, &Outcome::NoChange);
    }
    assert_eq!(search.get(ProgramId(9)).unwrap().children, 19);
    let mut counts = BTreeMap::<u64, u64>::new();
    for number in 1000..5000 {
        *counts.entry(search.ask(number).unwrap().parent.0).or_default() += 1;
    }
    assert!(counts[&8] > 5 * counts[&9], "8 is as good and has no children: {counts:?}");
    assert!(counts[&8] > 10 * counts.get(&1).copied().unwrap_or(0), "1 is below the median: {counts:?}");
}

#[test]
fn an_adaptive_island_is_greedy_while_it_improves() {
    let mut search = search("{ num_islands: 1, selection: { adaptive: { least: 0, most: 1 } } }", 1);
    search.tell(&initial("f(0)"), &measured(0.0, None));
    tell_children(&mut search, 1..=20, |number| number as f64);
    assert!((100..200).all(|number| search.ask(number).unwrap().parent == ProgramId(20)));
    tell_children(&mut search, 21..=60, |_| 0.5);
    let parents: BTreeSet<_> = (100..200).map(|number| search.ask(number).unwrap().parent).collect();
    assert!(parents.len() > 5, "{parents:?}");
}

#[test]
fn several_objectives_keep_the_programs_that_none_beats() {
    let yaml = "{ num_islands: 1, selection: { pareto: { objectives: \
                [{ metric: score }, { metric: speed, minimize: true }] } } }";
    let mut search = search(yaml, 1);
    search.tell(&initial("f(0)"), &measured(1.0, Some(5.0)));
    for (number, score, speed) in [(1, 2.0, 6.0), (2, 0.5, 9.0), (3, 3.0, 7.0), (4, 1.5, 5.0)] {
        let ask = search.ask(number).unwrap();
        let program = child(&search, &ask, &format!("f({number})"));
        search.tell(&program, &measured(score, Some(speed)));
    }
    let island = search.islands().next().unwrap();
    let front: BTreeSet<u64> = island.front().map(|entry| entry.id.0).collect();
    assert_eq!(front, BTreeSet::from([1, 3, 4]), "4 beats 0, and 2 is beaten by all");
    for number in 100..200 {
        let ask = search.ask(number).unwrap();
        assert!(front.contains(&ask.parent.0));
    }
}

#[test]
fn a_stagnant_island_asks_for_wider_changes_and_then_a_new_one_begins() {
    let yaml =
        "{ num_islands: 1, stagnation: { patience: 5, max_widening: 2, answer: spawn, max_islands: 2 } }";
    let mut search = search(yaml, 1);
    search.tell(&initial("f(0)"), &measured(1.0, None));
    for (numbers, widening) in [(1..=4, 0), (5..=9, 1), (10..=14, 2)] {
        tell_children(&mut search, numbers, |_| 0.5);
        assert_eq!(search.ask(100).unwrap().widening, widening);
    }
    assert_eq!(search.islands().count(), 1);
    tell_children(&mut search, 15..=15, |_| 0.5);
    assert_eq!(search.islands().count(), 2);
    let ask = (100..200).map(|number| search.ask(number).unwrap()).find(|ask| ask.island == 1).unwrap();
    assert!(ask.widening == 2 && ask.inspirations.is_empty() && search.get(ask.parent).is_some());
    // Nothing improves here either: islands come and go, and the one with the best program stays.
    tell_children(&mut search, 16..=200, |_| 0.5);
    assert!(search.islands().count() > 3);
    assert_eq!(search.islands().filter(search::IslandView::is_active).count(), 2);
    assert!(search.islands().next().unwrap().is_active());
    // An improvement ends the stagnation of its island.
    let ask = (300..400).map(|number| search.ask(number).unwrap()).find(|ask| ask.island == 0).unwrap();
    let program = child(&search, &ask, "best");
    search.tell(&program, &measured(9.0, None));
    assert_eq!(search.islands().next().unwrap().since_improvement(), 0);
}

#[test]
fn a_restart_gives_the_island_up_but_loses_no_program() {
    let yaml = "{ num_islands: 1, stagnation: { patience: 5, max_widening: 0, answer: restart } }";
    let mut search = search(yaml, 1);
    search.tell(&initial("f(0)"), &measured(1.0, None));
    tell_children(&mut search, 1..=5, |_| 0.5);
    let active: Vec<bool> = search.islands().map(|island| island.is_active()).collect();
    assert_eq!(active, [false, true]);
    assert!((6..50).all(|number| search.ask(number).unwrap().island == 1));
    assert_eq!(search.best().unwrap().id, ProgramId::INITIAL);
    assert_eq!(search.entries().count(), 6);
}

#[test]
fn early_stopping_has_one_meaning() {
    let mut search = search("{ early_stopping: { patience: 10, min_improvement: 0.5 } }", 1);
    search.tell(&initial("f(0)"), &measured(1.0, None));
    tell_children(&mut search, 1..=9, |_| 1.4);
    assert!(!search.should_stop());
    tell_children(&mut search, 10..=10, |_| 1.4);
    assert!(search.should_stop(), "1.4 is no improvement of 0.5");
    tell_children(&mut search, 11..=11, |_| 1.6);
    assert!(!search.should_stop() && search.since_improvement() == 0);
}

fn noisy(score: f64, error: f64) -> Outcome {
    let Outcome::Measured(measured) = measured(score, None) else { unreachable!() };
    Outcome::Measured(Measured { score_error: Some(error), ..measured })
}

#[test]
fn an_uncertain_score_ranks_lower_and_a_second_measurement_corrects_it() {
    let mut search = plain_search("num_islands: 1", 1);
    search.tell(&initial("f(0)"), &noisy(1.0, 0.01));
    let ask = search.ask(1).unwrap();
    search.tell(&child(&search, &ask, "lucky"), &noisy(1.3, 0.3));
    let ask = search.ask(2).unwrap();
    search.tell(&child(&search, &ask, "sure"), &noisy(1.2, 0.01));
    assert_eq!(
        search.best().unwrap().id,
        ProgramId(2),
        "1.3 give or take a third is worth less than a sure 1.2"
    );
    assert!(search.tell_again(ProgramId(2), &noisy(0.8, 0.01)));
    let entry = search.get(ProgramId(2)).unwrap();
    assert!((entry.score.get() - (1.2_f64 * 0.8).sqrt()).abs() < 1e-12 && entry.measurements == 2);
    assert!(entry.error.unwrap() < 0.01, "two measurements are surer than one");
    assert_eq!(search.best().unwrap().id, ProgramId::INITIAL);
    let population: Vec<u64> =
        search.islands().next().unwrap().population().map(|entry| entry.id.0).collect();
    assert_eq!(population, [0, 2, 1]);
    assert!(
        !search.tell_again(ProgramId(2), &failed()) && !search.tell_again(ProgramId(9), &noisy(1.0, 0.1))
    );
}

#[test]
fn without_errors_measurements_count_alike() {
    let mut search = plain_search("{ num_islands: 1, feature_dimensions: [score] }", 1);
    search.tell(&initial("f(0)"), &measured(-1.0, None));
    for score in [0.0, 4.0] {
        search.tell_again(ProgramId::INITIAL, &measured(score, None));
    }
    assert!((search.best().unwrap().score.get() - 1.0).abs() < 1e-12);
}

fn proposal(id: u64, source: &str, operator: &str, model: Option<&str>) -> Proposal {
    Proposal {
        id: ProgramId(id),
        parent: (id > 0).then_some(ProgramId::INITIAL),
        island: 0,
        generation: u32::from(id > 0),
        code: Some(Fingerprint::of(source, Language::Rust)),
        proposer: String::new(),
        operator: operator.into(),
        model: model.map(str::to_owned),
        cost: Some(1.0),
        repairs: None,
    }
}

#[test]
fn the_bandit_names_operator_and_model_and_learns_from_what_is_told() {
    let yaml = "{ num_islands: 1, stagnation: { patience: 0 }, \
                bandit: { policy: ucb, operators: { edit: 1, full_rewrite: 1 } } }";
    let models = ["big", "small"].map(|name| Arm { name: name.into(), weight: 1.0 });
    let mut search = search(yaml, 1).with_models(models.to_vec());
    search.tell_proposal(proposal(0, "f(0)", "initial", None), &measured(0.0, None));
    for number in 1..=100 {
        let ask = search.ask(number).unwrap();
        let (operator, model) = (ask.operator.unwrap(), ask.model.unwrap());
        let score = if operator == "edit" && model == "small" { 1.0 } else { -1.0 };
        let told = proposal(number, &format!("f({number})"), &operator, Some(&model));
        search.tell_proposal(told, &measured(score, None));
    }
    let asks: Vec<_> = (200..300).map(|number| search.ask(number).unwrap()).collect();
    let share = |good: &dyn Fn(&search::Ask) -> bool| asks.iter().filter(|ask| good(ask)).count();
    assert!(share(&|ask| ask.operator.as_deref() == Some("edit")) > 80);
    assert!(share(&|ask| ask.model.as_deref() == Some("small")) > 80);
}

fn arm(name: &str, weight: f64) -> Arm {
    Arm { name: name.into(), weight }
}

/// Tells 100 answers of the asked-for proposer, of which only the rules' ones are better than their parent.
fn rules_help(search: &mut Search, proposers: &[&str]) {
    search.tell_proposal(proposal(0, "f(0)", "initial", None), &measured(0.0, None));
    for number in 1..=100 {
        let proposer = search.ask(number).unwrap().proposer.unwrap();
        assert!(proposers.contains(&proposer.as_str()));
        let score = if proposer == "rewrite" { 1.0 } else { -1.0 };
        let told = Proposal { proposer, ..proposal(number, &format!("f({number})"), "any", None) };
        search.tell_proposal(told, &measured(score, None));
    }
}

#[test]
fn the_bandit_chooses_the_proposer_by_what_it_improved_and_a_list_may_change() {
    for policy in ["ucb", "thompson"] {
        let yaml = format!("{{ stagnation: {{ patience: 0 }}, bandit: {{ policy: {policy} }} }}");
        let mut search = search(&yaml, 1).with_proposers(vec![arm("llm", 1.0), arm("rewrite", 1.0)]);
        rules_help(&mut search, &["llm", "rewrite"]);
        let chosen = |search: &Search, name: &str| {
            let asks = (200..1200).map(|number| search.ask(number).unwrap());
            asks.filter(|ask| ask.proposer.as_deref() == Some(name)).count()
        };
        assert!(chosen(&search, "rewrite") > 800, "{policy}");
        // What was told stays told.
        let changed = search.clone().with_proposers(vec![arm("replay", 1.0), arm("rewrite", 1.0)]);
        assert!(chosen(&changed, "replay") > 0 && chosen(&changed, "llm") == 0, "{policy}");
        assert_eq!(
            chosen(&changed.with_proposers(vec![arm("llm", 1.0)]), "llm"),
            0,
            "of one there is no choice"
        );
    }
}

#[test]
fn fixed_weights_choose_the_proposer_too_and_one_alone_changes_no_ask() {
    let mut search = search("num_islands: 1", 1).with_proposers(vec![arm("llm", 1.0), arm("rewrite", 3.0)]);
    rules_help(&mut search, &["llm", "rewrite"]);
    let alone = search.clone().with_proposers(vec![arm("llm", 1.0)]);
    let none = search.clone().with_proposers(Vec::new());
    let asks: Vec<_> = (200..1200).map(|number| search.ask(number).unwrap()).collect();
    let rules = asks.iter().filter(|ask| ask.proposer.as_deref() == Some("rewrite")).count();
    assert!((700..800).contains(&rules), "{rules}");
    assert!((200..300).all(|number| alone.ask(number) == none.ask(number)));
}

#[test]
fn with_fixed_weights_the_model_is_the_proposers_choice() {
    let models = vec![Arm { name: "m".into(), weight: 1.0 }];
    let mut search = search("{ bandit: { operators: { edit: 3, full_rewrite: 1 } } }", 1).with_models(models);
    search.tell(&initial("f(0)"), &measured(0.0, None));
    let asks: Vec<_> = (1..1000).map(|number| search.ask(number).unwrap()).collect();
    assert!(asks.iter().all(|ask| ask.model.is_none()));
    let edits = asks.iter().filter(|ask| ask.operator.as_deref() == Some("edit")).count();
    assert!((700..800).contains(&edits), "{edits}");
}

#[test]
fn marked_numbers_are_tuned_in_their_share_and_reach_a_better_value() {
    let source = |block: f64| format!("let block = {block:.0}; // @tune {block:.0} [8..256] log\n");
    let score = |block: f64| -(block / 100.0).ln().abs();
    let mut search = search("{ num_islands: 1, tune: { share: 0.5 } }", 1);
    search.tell(&initial(&source(8.0)), &measured(score(8.0), None));
    let mut tuned = 0;
    for number in 1..=60 {
        let ask = search.ask(number).unwrap();
        let Some(values) = &ask.tune else {
            let parent = ask.parent;
            search.tell_without_program(ProgramId(number), parent, ask.island, &Outcome::NoChange);
            continue;
        };
        assert_eq!(ask.operator.as_deref(), Some(TUNE));
        assert!(values.len() == 1 && (8.0..=256.0).contains(&values[0]) && values[0].fract() == 0.0);
        let parent = search.get(ask.parent).unwrap();
        assert!(parent.id == ProgramId::INITIAL || parent.score.get() > score(8.0));
        let changed = search::tune::substitute(&source(8.0), values).unwrap();
        assert_eq!(changed, source(values[0]));
        search.tell(&child(&search, &ask, &changed), &measured(score(values[0]), None));
        tuned += 1;
    }
    assert!((20..40).contains(&tuned), "{tuned}");
    assert!(search.best().unwrap().score.get() > -0.1, "{}", search.best().unwrap().score);
}

#[test]
fn without_marks_nothing_is_tuned() {
    let mut search = search("tune: { share: 1 }", 1);
    search.tell(&initial("f(0) // @tune"), &measured(0.0, None));
    assert!((1..50).all(|number| search.ask(number).unwrap().tune.is_none()));
}

/// Answers asks as the run loop does: what is told of each number is `score` of the block size; only tuning and probes do anything.
fn tune_unmarked(
    search: &mut Search,
    numbers: std::ops::Range<u64>,
    score: impl Fn(f64) -> f64,
) -> Vec<search::Ask> {
    let unmarked = |block: f64| format!("let block = {block:.0};\n");
    let mut sources = BTreeMap::from([(ProgramId::INITIAL, unmarked(8.0))]);
    search.tell(&initial(&unmarked(8.0)), &measured(score(8.0), None));
    let mut asks = Vec::new();
    for number in numbers {
        let ask = search.ask(number).unwrap();
        let parent = sources[&ask.parent].clone();
        let changed = match &ask.tune {
            Some(values) => search::tune::substitute(&parent, values),
            None if ask.probe => search::tune::mark(&parent, &(12..13), Language::Rust)
                .map(|(marked, _, knob)| search::tune::substitute(&marked, &[knob.value * 2.0]).unwrap()),
            None => None,
        };
        let operator = ask.operator.clone().unwrap_or_default();
        let code = changed.as_ref().map(|source| Fingerprint::of(source, Language::Rust));
        let told = Proposal { code, ..proposal(number, "", &operator, None) };
        let told = Proposal { parent: Some(ask.parent), island: ask.island, ..told };
        let outcome = match changed {
            Some(source) => {
                let value: String = source[12..].chars().take_while(char::is_ascii_digit).collect();
                sources.insert(ProgramId(number), source);
                measured(score(value.parse().unwrap()), None)
            }
            None => Outcome::NoChange,
        };
        search.tell_proposal(told, &outcome);
        asks.push(ask);
    }
    asks
}

#[test]
fn a_number_without_a_mark_is_tuned_once_a_probe_has_changed_the_score() {
    let yaml = "{ num_islands: 1, tune: { share: 0.5, find: true } }";
    // From 8 the first probe goes to 16, which is worse: the best one has no mark of its own.
    let score = |block: f64| -(block - 5.0).abs();
    let mut found = search(yaml, 1);
    let asks = tune_unmarked(&mut found, 1..80, score);
    let probes = asks.iter().filter(|ask| ask.probe).count();
    assert!((1..=20).contains(&probes), "{probes}");
    assert!(asks.iter().all(|ask| !ask.probe || ask.operator.as_deref() == Some(PROBE)));
    assert!(asks.iter().any(|ask| ask.tune.is_some()));
    assert!(found.best().unwrap().score.get() > -1.5, "{}", found.best().unwrap().score);
    assert_eq!(tune_unmarked(&mut search(yaml, 1), 1..80, score), asks);
}

#[test]
fn a_number_that_changes_nothing_is_not_tuned_and_without_the_key_none_is_looked_for() {
    let mut search_on = search("{ num_islands: 1, tune: { share: 0.5, find: true } }", 1);
    let asks = tune_unmarked(&mut search_on, 1..80, |_| 1.0);
    assert!(asks.iter().all(|ask| ask.tune.is_none()));
    let probes = asks.iter().filter(|ask| ask.probe).count();
    assert!((1..=8).contains(&probes), "{probes}");
    let mut search_off = search("{ num_islands: 1, tune: { share: 0.5 } }", 1);
    let asks = tune_unmarked(&mut search_off, 1..80, |block| block);
    assert!(asks.iter().all(|ask| ask.tune.is_none() && !ask.probe));
}

/// A proposal of a model as the run loop would tell it.
fn by_model(ask: &search::Ask, source: Option<&str>) -> Proposal {
    Proposal {
        id: ProgramId(ask.number),
        parent: Some(ask.parent),
        island: ask.island,
        generation: 1,
        code: source.map(|source| Fingerprint::of(source, Language::Rust)),
        proposer: "llm".into(),
        operator: ask.operator.clone().unwrap_or_else(|| "edit".into()),
        model: Some("m".into()),
        cost: None,
        repairs: ask.repair,
    }
}

/// Runs as the loop does, `lookahead` asks ahead; every answer fails, but `mends` says whether repairs do. The asks in order.
fn with_failures(yaml: &str, lookahead: u64, last: u64, mends: bool) -> Vec<search::Ask> {
    let mut search = search(yaml, 5);
    search.tell(&initial("f(0)"), &measured(1.0, None));
    let mut asks: Vec<search::Ask> = (1..=lookahead).map(|number| search.ask(number).unwrap()).collect();
    for number in 1..=last {
        let ask = asks[number as usize - 1].clone();
        let mended = ask.repair.is_some() && mends;
        let source = format!("f({number})");
        let outcome = if mended { measured(1.0 + number as f64, None) } else { failed() };
        search.tell_proposal(by_model(&ask, Some(&source)), &outcome);
        asks.push(search.ask(number + lookahead).unwrap());
    }
    asks
}

#[test]
fn a_failure_of_a_model_gets_one_repair_and_a_failed_repair_none() {
    for lookahead in [1, 4] {
        let asks = with_failures("{ repair: { share: 1.0, limit: 1.0 } }", lookahead, 40, false);
        let repaired: Vec<u64> = asks.iter().filter_map(|ask| Some(ask.repair?.0)).collect();
        let distinct: BTreeSet<u64> = repaired.iter().copied().collect();
        assert_eq!(distinct.len(), repaired.len(), "{repaired:?}");
        assert!(repaired.len() >= 18, "{repaired:?}");
        for ask in asks.iter().filter(|ask| ask.repair.is_some()) {
            let failure = &asks[ask.repair.unwrap().0 as usize - 1];
            assert_eq!(failure.repair, None, "a repair is not repaired");
            assert_eq!((ask.parent, ask.operator.as_deref()), (failure.parent, Some(REPAIR)));
            assert_eq!((ask.proposer.as_deref(), ask.widening), (Some("llm"), 0));
        }
    }
}

#[test]
fn repairs_keep_to_their_share_and_limit_and_can_be_switched_off() {
    let repairs = |yaml: &str, mends| {
        with_failures(yaml, 1, 400, mends).iter().filter(|ask| ask.repair.is_some()).count()
    };
    assert_eq!(repairs("{ repair: { share: 0.0 } }", true), 0);
    assert!((90..=101).contains(&repairs("{ repair: { share: 1.0, limit: 0.25 } }", true)));
    let half = repairs("{ repair: { share: 0.5, limit: 1.0 } }", true);
    assert!((100..165).contains(&half), "{half}");
}

#[test]
fn rules_and_what_has_no_words_are_not_repaired() {
    let mut search = search("{ repair: { share: 1.0, limit: 1.0 } }", 5);
    search.tell(&initial("f(0)"), &measured(1.0, None));
    let outcomes = [
        failed(),
        Outcome::NoProposal { reason: "silence".into() },
        Outcome::NoChange,
        Outcome::Duplicate { of: ProgramId(0) },
        Outcome::LossDrift { baseline: 1.0, candidate: 2.0, limit: 0.01 },
        measured(0.5, None),
    ];
    for (number, outcome) in (1..).zip(outcomes) {
        let ask = search.ask(number).unwrap();
        let mut proposal = by_model(&ask, Some(&format!("f({number})")));
        if number == 1 {
            // As a rule's proposal: nobody there can read.
            proposal.model = None;
        }
        search.tell_proposal(proposal, &outcome);
        assert_eq!(search.ask(number + 1).unwrap().repair, None, "{outcome}");
    }
}

#[test]
fn a_crossover_has_another_parent_with_other_code() {
    let mut search = search("{ bandit: { operators: { crossover: 1 } } }", 1);
    search.tell(&initial("f(0)"), &measured(0.0, None));
    assert_eq!(search.ask(1).unwrap().partner, None, "there is but one program");
    tell_children(&mut search, 1..=20, |number| number as f64);
    for number in 100..200 {
        let ask = search.ask(number).unwrap();
        assert_eq!(ask.operator.as_deref(), Some(CROSSOVER));
        let (parent, partner) = (search.get(ask.parent).unwrap(), search.get(ask.partner.unwrap()).unwrap());
        assert_ne!(parent.hash, partner.hash);
    }
}

#[test]
fn what_was_made_from_a_parent_is_remembered_success_and_failure() {
    let mut search = search("{ selection: sequential }", 1);
    search.tell(&initial("f(0)"), &measured(5.0, None));
    for number in 1..=6 {
        let ask = search.ask(number).unwrap();
        let outcome = if number % 2 == 0 { measured(1.0, None) } else { failed() };
        search.tell(&child(&search, &ask, &format!("f({number})")), &outcome);
    }
    let ids = |ids: Vec<ProgramId>| ids.iter().map(|id| id.0).collect::<Vec<_>>();
    assert_eq!(ids(search.measured_children_of(ProgramId(0)).collect()), [2, 4, 6]);
    assert_eq!(ids(search.failures_of(ProgramId(0)).collect()), [1, 3, 5]);
}
