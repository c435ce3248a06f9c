//! The screen of `evolve watch` is a function of its state.
#![allow(clippy::unwrap_used, missing_docs)]

use orchestrator::watch::state::{Effect, Event, Over, State, Tab};
use orchestrator::watch::status::{Activity, Best, Budgets, Device, Island, Islands, Status, Step};
use orchestrator::watch::{Detail, view};
use program_db::view::{Bucket, FailureKind, Listed, Maker};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use search::ProgramId;

const NOW: i64 = 1_795_466_688_000;

fn listed(
    number: u64,
    kind: Option<&str>,
    score: Option<f64>,
    verdict: Option<&str>,
    message: &str,
) -> Listed {
    Listed {
        number: ProgramId(number),
        parent: number.checked_sub(1).map(ProgramId),
        island: number % 2,
        generation: None,
        proposer: "llm".to_owned(),
        operator: "edit".to_owned(),
        model: Some("small-model".to_owned()),
        cost: None,
        created_at: NOW - 3_000,
        kind: kind.map(str::to_owned),
        score,
        parent_score: None,
        verdict: verdict.map(str::to_owned),
        message: (!message.is_empty()).then(|| message.to_owned()),
    }
}

#[allow(clippy::too_many_lines, reason = "a run has many sides")]
fn status() -> Box<Status> {
    let score = |number: u64| 1.0 + 0.02 * (number as f64).sqrt();
    let steps = [0_u64, 3, 9, 20, 33].map(|number| Step {
        number: ProgramId(number),
        score: score(number),
        interval: (number == 20).then(|| (score(number) - 0.03, score(number) + 0.03)),
    });
    let scores = (0..40_u64).map(|number| Bucket {
        first: ProgramId(number),
        ended: 1,
        measured: 1,
        best: Some((ProgramId(number), score(number) - 0.01 * (number % 3) as f64)),
        worst: None,
        verdict: None,
    });
    let maker = |operator: &str, proposals, cost| Maker {
        proposer: "llm".to_owned(),
        model: Some("small-model".to_owned()),
        operator: operator.to_owned(),
        proposals,
        requests: proposals,
        measured: proposals / 2,
        improved: 1,
        gain: 0.05,
        best: Some(1.1),
        tokens_in: 1_000,
        tokens_out: 100,
        cost: Some(cost),
        seconds: 12.0,
    };
    let ending = |kind: &str, count, message: &str| FailureKind {
        kind: kind.to_owned(),
        count,
        latest: ProgramId(38),
        message: message.to_owned(),
    };
    Box::new(Status {
        at: NOW,
        run: 3,
        title: "number".to_owned(),
        seed: 42,
        database: "/somewhere/evolve.db".to_owned(),
        activity: Activity::Running { pid: 4711, since: NOW - 60_000 },
        proposals: 40,
        evaluated: 31,
        pending: 2,
        seconds: 725.0,
        last_proposal: Some(NOW - 3_000),
        budgets: Budgets {
            iterations: Some(100),
            wall_seconds: Some(3_600.0),
            cost: Some(5.0),
            currency: "USD".to_owned(),
            ..Budgets::default()
        },
        best: Some(Best { number: ProgramId(33), score: score(33) }),
        champion: Some(Best { number: ProgramId(33), score: score(33) }),
        initial: Some(1.0),
        tokens_in: 40_000,
        tokens_out: 4_000,
        cost: Some(0.12),
        steps: steps.to_vec(),
        scores: scores.collect(),
        last: 39,
        islands: Islands {
            each: (0..2)
                .map(|index| Island {
                    index,
                    told: 19,
                    since_improvement: 4,
                    elites: 7 + index,
                    best: Some(Best { number: ProgramId(33), score: score(33) }),
                    active: index == 0,
                })
                .collect(),
            unknown: None,
        },
        recent: vec![
            listed(40, None, None, None, ""),
            listed(39, Some("compile"), None, None, "does not compile: error[E0308]: mismatched types"),
            listed(
                38,
                Some("crash"),
                None,
                None,
                "crashed in trial: \x1b[2J\x1b]0;owned\x07 evil\u{202e}\nsecond",
            ),
            listed(33, Some("measured"), Some(score(33)), Some("improved"), "improved, score 1.1149"),
            listed(32, Some("measured"), Some(1.01), Some("inconclusive"), "inconclusive, score 1.0100"),
        ],
        endings: vec![
            ending("measured", 30, "inconclusive, score 1.0100"),
            ending("compile", 8, "does not compile: error[E0308]: mismatched types"),
            ending("out_of_memory", 2, "out of memory in trial (limit 512 MB)"),
        ],
        makers: vec![maker("edit", 28, 0.1), maker("crossover", 12, 0.02)],
        device: Some(Device {
            name: Some("Apple M3".to_owned()),
            mlx: Some("MLX 0.29 (metal)".to_owned()),
            protocol: "race-confirm".to_owned(),
            sandbox: Some("full".to_owned()),
            measured_at: Some(NOW - 9_000),
            load: Some(0.31),
            temperature: Some(61.0),
            frequency: None,
            on_battery: Some(true),
            speeds: vec![4_300.0, 4_310.0, 4_305.0, 4_250.0, 4_290.0],
            steadiness: vec!["steady: -0.5 % in the last third against the first".to_owned()],
        }),
        alarm: None,
    })
}

fn state() -> State {
    let mut state = State::new(false);
    state.on(Event::Read(status()));
    state
}

fn screen(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(state, frame)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |row: u16| {
        let cells: String = (0..width).map(|column| buffer[(column, row)].symbol()).collect();
        cells.trim_end().to_owned()
    };
    (0..height).map(line).collect::<Vec<_>>().join("\n")
}

fn press(state: &mut State, code: KeyCode) -> Option<Effect> {
    state.on(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

#[test]
fn a_small_screen_shows_the_overview() {
    insta::assert_snapshot!(screen(&state(), 80, 24));
}

#[test]
fn a_wide_screen_shows_everything_at_once() {
    insta::assert_snapshot!(screen(&state(), 150, 44));
}

#[test]
fn each_panel_has_the_small_screen_to_itself() {
    let mut state = state();
    let mut panels = String::new();
    for _ in 1..Tab::ALL.len() {
        press(&mut state, KeyCode::Tab);
        panels += &screen(&state, 80, 14);
        panels.push_str("\n\n");
    }
    insta::assert_snapshot!(panels);
    press(&mut state, KeyCode::Tab);
    assert_eq!(state.tab, Tab::Overview);
    press(&mut state, KeyCode::BackTab);
    assert_eq!(state.tab, Tab::Device);
}

#[test]
fn every_size_is_drawn_in_every_state() {
    let mut states = vec![State::new(true), state()];
    let mut failed = state();
    failed.on(Event::Failed("the database is gone".to_owned()));
    states.push(failed);
    let mut empty = state();
    if let Some(status) = &mut empty.status {
        status.steps.clear();
        status.scores.clear();
        status.recent.clear();
        status.endings.clear();
        status.makers.clear();
        status.device = None;
        status.best = None;
        status.islands = Islands { each: vec![], unknown: Some("its problem is gone".to_owned()) };
        status.alarm = Some("NOT SANDBOXED".to_owned());
    }
    states.push(empty);
    for tab in Tab::ALL {
        states.push(State { tab, ..state() });
    }
    let detail = Detail { number: ProgramId(38), lines: vec!["x".repeat(5_000); 300] };
    for over in [Over::Help, Over::Pause, Over::Opening(ProgramId(1)), Over::Detail(detail, 299)] {
        states.push(State { over, ..state() });
    }
    for state in &states {
        for (width, height) in
            [(1, 1), (3, 2), (10, 3), (20, 5), (40, 10), (80, 24), (119, 33), (120, 32), (300, 90)]
        {
            screen(state, width, height);
        }
    }
}

#[test]
fn stored_text_cannot_command_the_terminal() {
    let shown = screen(&state(), 220, 44);
    assert!(shown.contains("\\u{1b}[2J\\u{1b}]0;owned\\u{7} evil\\u{202e} second"), "{shown}");
    let mut state = state();
    press(&mut state, KeyCode::Char('j'));
    press(&mut state, KeyCode::Char('j'));
    assert_eq!(press(&mut state, KeyCode::Enter), Some(Effect::Open(ProgramId(38))));
    let lines = vec!["source:".to_owned(), "fn evil() { \x1b[31m\x07 }\tend".to_owned()];
    state.on(Event::Opened(Detail { number: ProgramId(38), lines }));
    let shown = screen(&state, 60, 8);
    insta::assert_snapshot!(shown);
    assert!(!shown.contains('\x1b') && !shown.contains('\x07'));
}

#[test]
fn what_was_chosen_stays_chosen_while_new_outcomes_come() {
    let mut state = state();
    press(&mut state, KeyCode::Down);
    assert_eq!(state.chosen, Some(ProgramId(39)));
    let mut later = status();
    later.recent.insert(0, listed(41, None, None, None, ""));
    state.on(Event::Read(later));
    assert_eq!((state.chosen, state.chosen_index()), (Some(ProgramId(39)), 2));
    // At the top again one follows the newest.
    press(&mut state, KeyCode::Home);
    assert_eq!((state.chosen, state.chosen_index()), (None, 0));
    press(&mut state, KeyCode::End);
    assert_eq!(state.chosen, Some(ProgramId(32)));
    press(&mut state, KeyCode::Char('j'));
    assert_eq!(state.chosen, Some(ProgramId(32)), "there is nothing below the last");
    // What is no longer listed can't stay chosen.
    let mut much_later = status();
    much_later.recent.truncate(1);
    state.on(Event::Read(much_later));
    assert_eq!(state.chosen, None);
}

#[test]
fn a_run_is_paused_only_after_a_yes() {
    let mut state = state();
    assert_eq!(press(&mut state, KeyCode::Char('p')), None);
    insta::assert_snapshot!(screen(&state, 80, 24));
    assert_eq!(press(&mut state, KeyCode::Enter), None, "only y pauses");
    assert_eq!(state.over, Over::Nothing);
    press(&mut state, KeyCode::Char('p'));
    assert_eq!(press(&mut state, KeyCode::Char('y')), Some(Effect::Pause));
    state.on(Event::Said("process 4711 was asked to stop run 3".to_owned()));
    assert!(screen(&state, 80, 24).ends_with("process 4711 was asked to stop run 3"));
    // Where nobody works on it there is nothing to pause.
    let mut ended = status();
    ended.activity = Activity::Ended { at: NOW, reason: "iterations".to_owned() };
    state.on(Event::Read(ended));
    assert_eq!((press(&mut state, KeyCode::Char('p')), &state.over), (None, &Over::Nothing));
    assert!(screen(&state, 80, 24).contains("run 3 is not running; `evolve resume 3` goes on with it"));
}

#[test]
fn a_detail_is_walked_through_and_left() {
    let mut state = state();
    state.on(Event::Height(24));
    press(&mut state, KeyCode::Enter);
    // The answer to a question that was asked before is not shown.
    state.on(Event::Opened(Detail { number: ProgramId(7), lines: vec![] }));
    assert_eq!(state.over, Over::Opening(ProgramId(40)));
    let lines: Vec<String> = (0..100).map(|line| format!("line {line}")).collect();
    state.on(Event::Opened(Detail { number: ProgramId(40), lines }));
    press(&mut state, KeyCode::Char(' '));
    assert!(screen(&state, 40, 24).contains("line 20"));
    press(&mut state, KeyCode::Char('G'));
    assert!(screen(&state, 40, 24).contains("line 99"));
    assert_eq!(press(&mut state, KeyCode::Char('q')), None, "it goes back to the overview");
    assert_eq!(state.over, Over::Nothing);
    assert_eq!(press(&mut state, KeyCode::Char('q')), Some(Effect::Quit));
    assert_eq!(
        state.on(Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL))),
        Some(Effect::Quit)
    );
}

#[test]
fn without_colours_nothing_is_coloured() {
    use ratatui::style::Color;
    for (colour, expected) in [(false, false), (true, true)] {
        let mut state = State::new(colour);
        state.on(Event::Read(status()));
        let mut terminal = Terminal::new(TestBackend::new(150, 44)).unwrap();
        terminal.draw(|frame| view::draw(&state, frame)).unwrap();
        let cells = terminal.backend().buffer().content();
        let is_coloured = cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert_eq!(is_coloured, expected);
    }
}

#[test]
fn a_plain_line_says_how_it_stands() {
    insta::assert_snapshot!(status().line(), @"2026-11-23T20:44:48Z run 3: running (process 4711), 40 of 100 proposals, 31 evaluated, 2 pending, best 1.1149 (program 33), improved, initial 1.0000, cost 0.1200 of 5 USD, 12 min 5 s");
}
