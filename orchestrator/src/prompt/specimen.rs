//! A request in which everything is there, to try templates on.

use std::sync::Arc;

use search::{Language, Measured, Outcome, ProgramId, Score, Verdict};

use super::view::{Material, Tried};
use crate::proposer::{Exhibit, Failure, Guidance, Lessons, ProblemText, Request};

pub(super) fn request() -> Request {
    Request {
        inspirations: vec![program(1), program(2)],
        different: vec![ProgramId(2)],
        partner: Some(program(2)),
        successes: vec![program(3)],
        failures: vec![failure()],
        repair: Some(failure()),
        lessons: Some(Lessons { version: 1, items: vec!["lesson".to_owned()] }),
        guidance: Guidance { widening: 1, ..Guidance::default() },
        ..Request::new(ProgramId(5), 0, Language::Rust, problem(), program(0))
    }
}

pub(super) fn material() -> Material {
    let outcome = program(0).outcome;
    Material {
        version: 2,
        language: Language::Rust,
        problem: problem(),
        before: vec!["lesson".to_owned()],
        most: 5,
        best: Some(program(0)),
        tried: vec![Tried {
            id: 1,
            operator: "edit".to_owned(),
            outcome: failure().outcome,
            parent: outcome,
            change: Some("-a\n+b\n".to_owned()),
        }],
    }
}

fn problem() -> Arc<ProblemText> {
    Arc::new(ProblemText {
        name: "name".to_owned(),
        task: "task".to_owned(),
        api_reference: Some("reference".to_owned()),
    })
}

fn program(id: u64) -> Exhibit {
    let outcome = Score::new(1.0).ok().map(|score| {
        Outcome::Measured(Measured {
            score,
            verdict: Verdict::Inconclusive,
            metrics: std::iter::once(("metric".to_owned(), 1.0)).collect(),
            effects: Vec::new(),
            reason: "reason".to_owned(),
            score_error: None,
        })
    });
    Exhibit {
        artifacts: vec![("stderr".to_owned(), "words".to_owned())],
        ..Exhibit::new(ProgramId(id), "// EVOLVE-BLOCK-START\n// EVOLVE-BLOCK-END\n", outcome)
    }
}

fn failure() -> Failure {
    Failure {
        reply: Some("reply".to_owned()),
        artifacts: vec![("stderr".to_owned(), "words".to_owned())],
        ..Failure::new(ProgramId(4), Outcome::Compile { message: "error".to_owned() }, Some(Arc::from("")))
    }
}
