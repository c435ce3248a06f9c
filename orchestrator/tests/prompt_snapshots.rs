//! Whole prompts, word for word.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeMap;
use std::sync::Arc;

use orchestrator::patch::Form;
use orchestrator::prompt::{PromptError, Prompts};
use orchestrator::proposer::{Exhibit, Failure, Guidance, ProblemText, Request, Seen};
use search::{Effect, Language, Measured, Outcome, ProgramId, Score, Verdict};

const PARENT: &str = "\
use kernel_api::Array;

// EVOLVE-BLOCK-START
fn forward(x: &Array) -> Array {
    x.add(1.0)
}
// EVOLVE-BLOCK-END
";

fn effect(metric: &str, baseline: f64, candidate: f64, change: f64, significant: bool) -> Effect {
    Effect {
        metric: metric.into(),
        baseline,
        candidate,
        change,
        interval: Some((change - 0.02, change + 0.02)),
        p_value: Some(0.01),
        significant,
        n: (5, 5),
        method: "welch-t".into(),
    }
}

fn measured(score: f64, verdict: Verdict) -> Outcome {
    Outcome::Measured(Measured {
        score: Score::new(score).unwrap(),
        verdict,
        metrics: BTreeMap::from([
            ("tokens_per_second".into(), 1234.5),
            ("train_loss".into(), 2.345_678),
            ("wall_seconds".into(), 0.98),
        ]),
        effects: vec![
            effect("tokens_per_second", 1100.0, 1234.5, 0.122, true),
            effect("peak_memory_bytes", 52_000_000.0, 52_500_000.0, -0.0096, false),
        ],
        reason: "Faster beyond chance, memory not told apart.".into(),
        score_error: None,
    })
}

fn request() -> Request {
    let mut parent = Exhibit::new(ProgramId(7), PARENT, Some(measured(1.08, Verdict::Improved)));
    parent.artifacts.push(("notes".into(), "a ``` in an artifact\n".into()));
    Request {
        number: ProgramId(12),
        seed: 1,
        language: Language::Rust,
        problem: Arc::new(ProblemText {
            name: "quantized-lora".into(),
            task: "Make fine-tuning faster.\n".into(),
            api_reference: Some("## `Array::add`\n\nAdds.\n".into()),
        }),
        parent,
        inspirations: vec![Exhibit::new(
            ProgramId(3),
            PARENT.replace("1.0", "2.0"),
            Some(measured(0.97, Verdict::Inconclusive)),
        )],
        failures: vec![
            Failure {
                id: ProgramId(9),
                outcome: Outcome::Compile {
                    message: "error[E0308]: mismatched types\n --> candidate.rs:5:11\n  |\n5 |     x.add(\"1\")\n  |".into(),
                },
                source: Some(PARENT.replace("1.0", "\"1\"").into()),
            },
            Failure {
                id: ProgramId(10),
                outcome: Outcome::Patch { reason: "edit 1: its SEARCH text is not in the program".into() },
                source: None,
            },
        ],
        seen: Seen::nothing(),
        guidance: Guidance::default(),
    }
}

#[test]
fn the_prompt_for_edits() {
    insta::assert_snapshot!(Prompts::load(None).unwrap().render(Form::Edits, &request()).unwrap().text());
}

#[test]
fn the_prompt_for_a_full_rewrite() {
    insta::assert_snapshot!(
        Prompts::load(None).unwrap().render(Form::FullRewrite, &request()).unwrap().text()
    );
}

#[test]
fn the_first_prompt_of_a_command_problem() {
    let mut request = request();
    request.language = Language::Python;
    request.problem = Arc::new(ProblemText::default());
    request.parent = Exhibit::new(
        ProgramId(0),
        "# EVOLVE-BLOCK-START\nx = 1\n# EVOLVE-BLOCK-END\n",
        Some(Outcome::Measured(Measured {
            score: Score::new(0.42).unwrap(),
            verdict: Verdict::Inconclusive,
            metrics: BTreeMap::from([("speed".into(), 12.0)]),
            effects: vec![],
            reason: "measured once".into(),
            score_error: None,
        })),
    );
    request.inspirations.clear();
    request.failures.clear();
    insta::assert_snapshot!(Prompts::load(None).unwrap().render(Form::Edits, &request).unwrap().text());
}

#[test]
fn one_template_can_be_replaced_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("task.md.j2"), "Do {{ problem.name }}.\n").unwrap();
    std::fs::write(folder.path().join("README.md"), "not a template").unwrap();
    let prompt = Prompts::load(Some(folder.path())).unwrap().render(Form::Edits, &request()).unwrap();
    assert!(prompt.user.starts_with("Do quantized-lora.\n# Rules\n"), "{}", prompt.user);
}

#[test]
fn mistakes_in_templates_are_found_when_they_are_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let load = || Prompts::load(Some(folder.path())).map(|_| ()).unwrap_err();
    let task = folder.path().join("task.md.j2");
    std::fs::write(&task, "line one\n{{ problem.nmae }}\n").unwrap();
    assert_eq!(load().to_string(), "template task.md.j2, line 2: it uses a name that doesn't exist");
    std::fs::write(&task, "{% if %}").unwrap();
    assert!(matches!(load(), PromptError::Template { line: Some(1), .. }), "{:?}", load());
    std::fs::remove_file(&task).unwrap();
    std::fs::write(folder.path().join("taks.md.j2"), "x").unwrap();
    assert!(matches!(load(), PromptError::Unknown { .. }));
    assert!(matches!(
        Prompts::load(Some(&folder.path().join("none"))).map(|_| ()),
        Err(PromptError::Unreadable { .. })
    ));
}
