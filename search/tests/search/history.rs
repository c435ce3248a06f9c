//! Histories for tests: programs and outcomes as a run loop would tell them.

use std::collections::BTreeMap;

use search::{
    Ask, Language, Measured, Outcome, Program, ProgramId, Score, Search, SearchConfig, Selection, Stagnation,
    Verdict,
};

/// A measured outcome with a score, and perhaps a metric `speed`.
pub(crate) fn measured(score: f64, speed: Option<f64>) -> Outcome {
    Outcome::Measured(Measured {
        score: Score::new(score).unwrap(),
        verdict: Verdict::Inconclusive,
        metrics: speed.map(|speed| ("speed".to_owned(), speed)).into_iter().collect::<BTreeMap<_, _>>(),
        effects: Vec::new(),
        reason: "test".into(),
        score_error: None,
    })
}

/// An outcome that isn't a measurement.
pub(crate) fn failed() -> Outcome {
    Outcome::Compile { message: "mismatched types".into() }
}

/// A search with this configuration, written as YAML.
pub(crate) fn search(yaml: &str, seed: u64) -> Search {
    let config: SearchConfig = serde_yaml::from_str(yaml).unwrap();
    Search::new(config, Language::Rust, seed).unwrap()
}

/// A search by OpenEvolve's mixture, with islands that are there from the beginning to the end.
pub(crate) fn plain_search(yaml: &str, seed: u64) -> Search {
    let config: SearchConfig = serde_yaml::from_str(yaml).unwrap();
    let stagnation = Stagnation { patience: 0, ..Stagnation::default() };
    let config = SearchConfig { selection: Selection::Mixture, stagnation, ..config };
    Search::new(config, Language::Rust, seed).unwrap()
}

/// The initial program.
pub(crate) fn initial(source: &str) -> Program {
    Program { id: ProgramId::INITIAL, parent: None, island: 0, generation: 0, source: source.into() }
}

/// The program that was made in answer to an ask.
pub(crate) fn child(search: &Search, ask: &Ask, source: &str) -> Program {
    Program {
        id: ProgramId(ask.number),
        parent: Some(ask.parent),
        island: ask.island,
        generation: search.get(ask.parent).map_or(0, |parent| parent.generation) + 1,
        source: source.into(),
    }
}
