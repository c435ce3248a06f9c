//! Everything a template can use.

use search::{Language, Outcome};
use serde::Serialize;

use super::words;
use crate::patch::Form;
use crate::proposer::{Exhibit, Failure, Lessons, ProblemText, Request};

/// What the templates of all operators can use.
#[derive(Serialize)]
pub(super) struct View<'a> {
    language: &'static str,
    fence_label: &'static str,
    /// `edits` or `program`: what the answer should be.
    answer: &'static str,
    pub(super) problem: ProblemView<'a>,
    pub(super) parent: ProgramView<'a>,
    /// EVOLVE-BLOCKs of the parent.
    blocks: usize,
    /// Files of the parent.
    files: usize,
    /// Good programs, the best first.
    pub(super) top: Vec<ProgramView<'a>>,
    /// Programs that were chosen because they differ.
    pub(super) different: Vec<ProgramView<'a>>,
    /// The other parent of a crossover.
    partner: Option<ProgramView<'a>>,
    /// The failed attempt that is to be mended.
    pub(super) mend: Option<AttemptView<'a>>,
    /// Measured children of the parent, oldest first.
    pub(super) successes: Vec<AttemptView<'a>>,
    /// Children of the parent that failed, oldest first.
    pub(super) failures: Vec<AttemptView<'a>>,
    pub(super) lessons: Option<LessonsView<'a>>,
    widening: u32,
    /// What was left out for length, in words.
    pub(super) left_out: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct ProblemView<'a> {
    name: &'a str,
    task: &'a str,
    pub(super) api_reference: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct ProgramView<'a> {
    pub(super) id: u64,
    source: &'a str,
    summary: String,
    measurements: Vec<String>,
    pub(super) artifacts: Vec<ArtifactView<'a>>,
}

#[derive(Serialize)]
pub(super) struct ArtifactView<'a> {
    pub(super) name: &'a str,
    content: String,
}

#[derive(Serialize)]
pub(super) struct AttemptView<'a> {
    pub(super) id: u64,
    summary: String,
    change: Option<String>,
    source: Option<&'a str>,
    reply: Option<String>,
    words: Option<String>,
    pub(super) artifacts: Vec<ArtifactView<'a>>,
}

#[derive(Serialize)]
pub(super) struct LessonsView<'a> {
    version: u32,
    items: &'a [String],
}

impl<'a> View<'a> {
    /// `artifact_bytes` is what each artifact may take; with 0 there are none.
    pub(super) fn of(request: &'a Request, form: Form, artifact_bytes: usize) -> Self {
        let (language, fence_label) = names(request.language);
        let parent = &request.parent;
        let (different, top) =
            request.inspirations.iter().partition::<Vec<_>, _>(|it| request.different.contains(&it.id));
        let program = |exhibit: &'a Exhibit| ProgramView::of(exhibit, artifact_bytes);
        let programs = |exhibits: Vec<&'a Exhibit>| exhibits.into_iter().map(program).collect();
        let failed = |failure: &'a Failure| AttemptView::failed(failure, parent, artifact_bytes);
        Self {
            language,
            fence_label,
            answer: match form {
                Form::Edits => "edits",
                Form::FullRewrite => "program",
            },
            problem: ProblemView::of(&request.problem),
            parent: program(parent),
            blocks: evaluator::block::parts(&parent.source).map_or(1, |marked| marked.blocks.len()),
            files: evaluator::bundle::split(&parent.source).map_or(1, |files| files.len()),
            top: programs(top),
            different: programs(different),
            partner: request.partner.as_ref().map(program),
            mend: request.repair.as_ref().map(failed),
            successes: request.successes.iter().map(|child| AttemptView::measured(child, parent)).collect(),
            failures: request.failures.iter().map(failed).collect(),
            lessons: request.lessons.as_ref().map(LessonsView::of),
            widening: request.guidance.widening,
            left_out: Vec::new(),
        }
    }
}

fn names(language: Language) -> (&'static str, &'static str) {
    match language {
        Language::Rust => ("Rust", "rust"),
        Language::Python => ("Python", "python"),
        Language::Other => ("", ""),
    }
}

impl<'a> ProblemView<'a> {
    fn of(problem: &'a ProblemText) -> Self {
        let ProblemText { name, task, api_reference } = problem;
        Self { name, task: task.trim(), api_reference: api_reference.as_deref().map(str::trim) }
    }
}

impl<'a> ProgramView<'a> {
    fn of(exhibit: &'a Exhibit, artifact_bytes: usize) -> Self {
        Self {
            id: exhibit.id.0,
            source: &exhibit.source,
            summary: words::summary(exhibit.outcome.as_ref()),
            measurements: exhibit.outcome.as_ref().map(words::measurements).unwrap_or_default(),
            artifacts: ArtifactView::of(&exhibit.artifacts, artifact_bytes),
        }
    }
}

impl<'a> ArtifactView<'a> {
    fn of(artifacts: &'a [(String, String)], bytes: usize) -> Vec<Self> {
        let shown = |(name, content): &'a (String, String)| Self {
            name,
            content: evaluator::shorten(&words::safe(content), bytes),
        };
        artifacts.iter().filter(|_| bytes > 0).map(shown).collect()
    }
}

impl<'a> AttemptView<'a> {
    fn failed(failure: &'a Failure, parent: &Exhibit, artifact_bytes: usize) -> Self {
        Self {
            id: failure.id.0,
            summary: words::failure(&failure.outcome),
            change: failure.source.as_ref().map(|source| words::change(&parent.source, source)),
            source: failure.source.as_deref(),
            reply: failure.reply.as_deref().map(words::safe),
            words: words::details(&failure.outcome),
            artifacts: ArtifactView::of(&failure.artifacts, artifact_bytes),
        }
    }

    fn measured(child: &'a Exhibit, parent: &Exhibit) -> Self {
        Self {
            id: child.id.0,
            summary: words::compared(child.outcome.as_ref(), parent.outcome.as_ref()),
            change: Some(words::change(&parent.source, &child.source)),
            source: Some(&child.source),
            reply: None,
            words: None,
            artifacts: Vec::new(),
        }
    }
}

impl<'a> LessonsView<'a> {
    fn of(lessons: &'a Lessons) -> Self {
        Self { version: lessons.version, items: &lessons.items }
    }
}

/// What lessons are made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Material {
    /// The language of all programs.
    pub language: Language,
    /// The problem's name and task.
    pub problem: std::sync::Arc<ProblemText>,
    /// Which version of the lessons is to be written.
    pub version: u32,
    /// The lessons so far.
    pub before: Vec<String>,
    /// Most lessons wanted.
    pub most: usize,
    /// The best program so far.
    pub best: Option<Exhibit>,
    /// What was tried since those lessons, oldest first.
    pub tried: Vec<Tried>,
}

/// One attempt that lessons are made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// The proposal's number.
    pub id: u64,
    /// What was done.
    pub operator: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How the program ended that it was made from.
    pub parent: Option<Outcome>,
    /// What it changed, as a diff.
    pub change: Option<String>,
}

/// What the template that asks for lessons can use.
#[derive(Serialize)]
pub(super) struct Lookback<'a> {
    language: &'static str,
    fence_label: &'static str,
    problem: ProblemView<'a>,
    before: &'a [String],
    most: usize,
    best: Option<ProgramView<'a>>,
    tried: Vec<TriedView<'a>>,
}

#[derive(Serialize)]
struct TriedView<'a> {
    id: u64,
    operator: &'a str,
    summary: String,
    change: Option<&'a str>,
}

impl<'a> Lookback<'a> {
    pub(super) fn of(material: &'a Material) -> Self {
        let (language, fence_label) = names(material.language);
        let tried = |tried: &'a Tried| TriedView {
            id: tried.id,
            operator: &tried.operator,
            summary: match &tried.outcome {
                Outcome::Measured(_) => words::compared(Some(&tried.outcome), tried.parent.as_ref()),
                failed => words::failure(failed),
            },
            change: tried.change.as_deref(),
        };
        Self {
            language,
            fence_label,
            problem: ProblemView::of(&material.problem),
            before: &material.before,
            most: material.most,
            best: material.best.as_ref().map(|best| ProgramView::of(best, 0)),
            tried: material.tried.iter().map(tried).collect(),
        }
    }

    /// Leaves something out: what attempts changed, the oldest first, then whole attempts.
    pub(super) fn shorten(&mut self) -> bool {
        if let Some(tried) = self.tried.iter_mut().find(|tried| tried.change.is_some()) {
            tried.change = None;
            return true;
        }
        if self.tried.is_empty() {
            return self.best.take().is_some();
        }
        self.tried.remove(0);
        true
    }
}
