//! What has come and is still to be stored. All of it goes into one transaction, because each commit waits for the disk: so
//! the faster things come, the more of them share a wait.

use std::sync::Arc;

use evaluator::{EvaluationReport, EvaluatorError};
use program_db::{NewLesson, NewProgram, NewProposal, Record};
use search::{Fingerprint, Language, Outcome, ProgramId};

use super::exhibits::shown;
use super::lessons::Order;
use super::measurement::new_evaluation;
use super::{Finished, Origin, Proposed};
use crate::event::Event;
use crate::proposer::{Condensed, Exhibit, Proposal, ProposerError};

/// What a task brings back to the loop.
pub(super) enum Done {
    /// A proposer has answered.
    Proposed(Box<Result<Answer, ProposerError>>),
    /// An evaluation has ended.
    Evaluated(Box<Evaluated>),
    /// A model was asked for lessons.
    Condensed(Order, Box<Result<Option<Condensed>, ProposerError>>),
    /// The run ends before a proposal had its lessons: nothing was asked of anybody.
    Abandoned,
}

/// A proposer's answer to an ask.
pub(super) struct Answer {
    pub(super) number: u64,
    pub(super) origin: Origin,
    inspirations: Vec<ProgramId>,
    proposal: Proposal,
    code: Option<Fingerprint>,
}

/// How an evaluation ended.
pub(super) struct Evaluated {
    pub(super) told: search::Proposal,
    pub(super) source: Arc<str>,
    pub(super) report: Result<EvaluationReport, EvaluatorError>,
}

impl Done {
    /// What a proposer said; its program is read here, in the task, where others don't wait for it.
    pub(super) fn proposed(
        number: u64,
        origin: Origin,
        inspirations: Vec<ProgramId>,
        proposal: Result<Proposal, ProposerError>,
        language: Language,
    ) -> Self {
        let answer = proposal.map(|proposal| {
            let code = proposal.change.as_ref().ok().map(|source| Fingerprint::of(source, language));
            Answer { number, origin, inspirations, proposal, code }
        });
        Self::Proposed(Box::new(answer))
    }
}

/// What is to be done with something once it is stored.
pub(super) enum Arrived {
    /// A proposal may be admitted, and everybody hears of it.
    Proposed(Proposed, Event),
    /// An outcome may be told.
    Finished(Finished),
    /// The same, and the program may be shown.
    Evaluated(Finished, Exhibit),
    /// Those who wait for this version of the lessons go on, and everybody hears of it.
    Lesson(u32, Option<Vec<String>>, Event),
}

/// Everything that has come since the last commit.
#[derive(Default)]
pub(super) struct Arrivals {
    records: Vec<Record>,
    arrived: Vec<Arrived>,
}

impl Arrivals {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A proposal, whatever it is: a model's reply is paid for. `generation` is its lineage depth if it is a program.
    pub(super) fn proposal(&mut self, answer: Answer, generation: u32) {
        let Answer { number, origin, inspirations, proposal, code } = answer;
        let event = Event::Proposed {
            number,
            parent: origin.parent.0,
            island: origin.island,
            proposer: proposal.proposer.to_owned(),
            operator: proposal.operator.clone(),
            model: proposal.model.clone(),
            repairs: origin.repairs.map(|id| id.0),
            left_out: proposal.left_out.clone(),
            seconds: proposal.latency.as_secs_f64(),
        };
        let told = search::Proposal {
            id: ProgramId(number),
            parent: Some(origin.parent),
            island: origin.island,
            generation: if code.is_some() { generation } else { 0 },
            code: code.clone(),
            proposer: proposal.proposer.to_owned(),
            operator: proposal.operator.clone(),
            model: proposal.model.clone(),
            cost: proposal.cost,
            repairs: origin.repairs,
        };
        let (source, outcome) = match &proposal.change {
            Ok(source) => (Some(source.clone()), None),
            Err(outcome) => (None, Some(outcome.clone())),
        };
        let row = new_proposal(number, origin, inspirations, proposal, code.as_ref());
        self.records.push(Record::Proposal(Box::new(row)));
        self.arrived.push(Arrived::Proposed(Proposed { told, source, outcome, replayed: false }, event));
    }

    /// An attempt at lessons, which is paid for too.
    pub(super) fn lesson(&mut self, lesson: NewLesson) {
        let event = Event::Lessons {
            version: lesson.version,
            told: lesson.told,
            lessons: lesson.lessons.clone().unwrap_or_default(),
            failure: lesson.lessons.clone().err(),
        };
        self.arrived.push(Arrived::Lesson(lesson.version, lesson.lessons.clone().ok(), event));
        self.records.push(Record::Lesson(Box::new(lesson)));
    }

    /// An outcome that needed no evaluation, or in whose evaluation we failed.
    pub(super) fn outcome(&mut self, told: search::Proposal, outcome: Outcome) {
        self.records.push(Record::Outcome { number: told.id, outcome: outcome.clone() });
        self.arrived.push(Arrived::Finished(Finished { told, outcome, replayed: false }));
    }

    /// An evaluation with its trials, artifacts and outcome.
    pub(super) fn evaluation(&mut self, told: search::Proposal, source: Arc<str>, report: EvaluationReport) {
        let number = told.id;
        let evaluation = new_evaluation(&report);
        let artifacts = report.artifacts.into_iter().map(|artifact| (artifact.name, artifact.content));
        let exhibit = Exhibit {
            artifacts: shown(artifacts),
            ..Exhibit::new(number, source, Some(report.outcome.clone()))
        };
        self.records.push(Record::Evaluation { number, evaluation: Box::new(evaluation) });
        let finished = Finished { told, outcome: report.outcome, replayed: false };
        self.arrived.push(Arrived::Evaluated(finished, exhibit));
    }

    /// Everything, to be stored: what, and what follows.
    pub(super) fn take(&mut self) -> (Vec<Record>, Vec<Arrived>) {
        (std::mem::take(&mut self.records), std::mem::take(&mut self.arrived))
    }
}

fn new_proposal(
    number: u64,
    origin: Origin,
    inspirations: Vec<ProgramId>,
    proposal: Proposal,
    code: Option<&Fingerprint>,
) -> NewProposal {
    let program = |source: String| {
        let (code_hash, fingerprint) = code.map(|code| (code.hash.to_string(), code.to_bytes())).unzip();
        NewProgram { code_hash: code_hash.unwrap_or_default(), source, fingerprint }
    };
    NewProposal {
        number: ProgramId(number),
        island: origin.island,
        parent: origin.parent,
        inspirations,
        proposer: proposal.proposer.to_owned(),
        operator: proposal.operator,
        model: proposal.model,
        prompt: proposal.prompt,
        reply: proposal.reply,
        tokens_in: proposal.tokens_in,
        tokens_out: proposal.tokens_out,
        tokens_cached: proposal.tokens_cached,
        tokens_reasoning: proposal.tokens_reasoning,
        tokens_estimated: proposal.tokens_estimated,
        cost: proposal.cost,
        latency: proposal.latency,
        requests: proposal.requests,
        repairs: origin.repairs,
        lesson: origin.lesson,
        left_out: proposal.left_out,
        change: proposal.change.map(program),
    }
}
