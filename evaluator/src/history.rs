//! What the evaluations of a run's past mean for the next one: everything that its protocol was told.

use serde::{Deserialize, Serialize};

use crate::job::{Job, Purpose};
use crate::noise::Record;
use crate::protocol::{Candidate, Decision, PastEvaluation, PastTrial, Sample, Stage, TrialResult};
use crate::report::EvaluationReport;
use crate::trial::{Exit, TrialRecord};

/// A run's past, as the evaluator process needs it to go on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// In the order of measuring.
    pub evaluations: Vec<PastEvaluation>,
    /// The program of the latest claim.
    pub incumbent: Option<Incumbent>,
    /// The first trial number that was never used.
    pub next_trial: u64,
    /// Programs of a command problem that were or would have been the best, in the order of their ends.
    #[serde(default)]
    pub noise: Vec<Record>,
}

/// A program that was claimed to be better, which reference trials run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incumbent {
    /// The whole source text.
    pub program: String,
    /// Its code hash.
    pub kernel: String,
}

impl History {
    /// Takes in what has just been evaluated. Nothing, if the protocol wasn't asked.
    pub(crate) fn add(&mut self, job: &Job, initial: &str, report: &EvaluationReport) {
        if job.purpose == Purpose::Search {
            self.noise.extend(report.noise.clone());
            self.push(job, job.program == initial, &report.trials, report.decision.as_ref());
        }
    }

    /// Takes in one evaluation, whose program is the incumbent from now on if it was claimed to be better; says whether it was. An
    /// evaluation without a trial of the protocol's leaves no trace.
    pub(crate) fn push(
        &mut self,
        job: &Job,
        is_baseline: bool,
        trials: &[TrialRecord],
        decision: Option<&Decision>,
    ) -> bool {
        let trials: Vec<PastTrial> = trials.iter().filter_map(past_trial).collect();
        let Some(last) = trials.iter().map(|trial| trial.id).max() else { return false };
        let claimed = matches!(decision, Some(Decision::Judged(judgement)) if judgement.claim.is_some());
        if claimed {
            self.incumbent = Some(Incumbent { program: job.program.clone(), kernel: job.kernel.clone() });
        }
        self.next_trial = self.next_trial.max(last + 1);
        let candidate = Candidate { program: job.kernel.clone(), is_baseline };
        self.evaluations.push(PastEvaluation { candidate, trials, decided: decision.is_some(), claimed });
        // Two that ended nearly together may be reported the other way round.
        self.evaluations.sort_by_key(|evaluation| evaluation.trials.first().map(|trial| trial.id));
        claimed
    }
}

fn past_trial(record: &TrialRecord) -> Option<PastTrial> {
    Some(PastTrial {
        id: record.number?,
        stage: Stage::parse(&record.stage)?,
        arm: record.arm,
        seed: record.seed,
        reference_first: record.reference_first,
        result: told(record.exit, record.tokens_per_second, record.peak_memory_bytes, record.validation_loss),
    })
}

/// What a protocol was told of a trial that ended so, with these figures as far as there are any.
pub fn told(
    exit: Exit,
    tokens_per_second: Option<f64>,
    peak_memory_bytes: Option<u64>,
    validation_loss: Option<f64>,
) -> Option<TrialResult> {
    let sample = || {
        Some(Sample {
            tokens_per_second: tokens_per_second?,
            peak_memory_bytes: peak_memory_bytes? as f64,
            validation_loss: validation_loss?,
        })
    };
    match exit {
        Exit::Ok => Some(sample().map_or(TrialResult::Failed, TrialResult::Ok)),
        // It was forged: the evaluation ended with it.
        Exit::Invalid => None,
        Exit::Failed | Exit::Crashed | Exit::Timeout | Exit::OutOfMemory | Exit::Killed => {
            Some(TrialResult::Failed)
        }
    }
}
