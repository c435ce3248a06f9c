//! What the evaluator reports, as the database keeps it, and back again for a run that goes on.

use evaluator::history::{History, Incumbent, told};
use evaluator::noise::Record;
use evaluator::protocol::{Candidate, Decision, DecisionRecord, PastEvaluation, PastTrial, Stage};
use evaluator::trial::{Arm, Exit};
use evaluator::{EvaluationReport, TrialRecord};
use program_db::{NewComparison, NewEvaluation, PastMeasurement, ProgramDb, RunId, Trial};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::commands::storage;
use crate::exit_code::{ExitCode, Failure};

/// The key under which a judgement of a command problem is stored.
const NOISE: &str = "noise";

pub(super) fn new_evaluation(report: &EvaluationReport) -> NewEvaluation {
    NewEvaluation {
        measured_by: measured_by(report),
        started_at: report.started_at,
        ended_at: report.ended_at,
        trials: report.trials.iter().map(stored_trial).collect(),
        artifacts: report
            .artifacts
            .iter()
            .map(|artifact| program_db::Artifact {
                name: artifact.name.clone(),
                content: artifact.content.clone(),
            })
            .collect(),
        decisions: records(report).iter().map(stored_decision).collect(),
        judgement: judgement(report),
        outcome: report.outcome.clone(),
    }
}

pub(super) fn new_comparison(report: &EvaluationReport) -> NewComparison {
    NewComparison {
        measured_by: measured_by(report),
        started_at: report.started_at,
        ended_at: report.ended_at,
        trials: report.trials.iter().map(stored_trial).collect(),
        decisions: records(report).iter().map(stored_decision).collect(),
        judgement: judgement(report),
    }
}

fn measured_by(report: &EvaluationReport) -> program_db::MeasuredBy {
    let by = report.measured_by.clone();
    program_db::MeasuredBy {
        evaluator: by.evaluator,
        harness: by.harness,
        mlx: by.mlx,
        backend: by.backend,
        device: by.device,
        sandbox: Some(by.sandbox.as_str().to_owned()),
        protocol: by.protocol,
        parameters: by.parameters,
    }
}

/// A trial as the database has it.
pub fn stored_trial(record: &TrialRecord) -> Trial {
    Trial {
        stage: record.stage.clone(),
        arm: record.arm.as_str().to_owned(),
        seed: record.seed,
        started_at: record.started_at,
        ended_at: record.ended_at,
        wall_seconds: record.wall_seconds,
        exit: record.exit.as_str().to_owned(),
        tokens_per_second: record.tokens_per_second,
        peak_memory_bytes: record.peak_memory_bytes,
        process_peak_bytes: record.process_peak_bytes,
        train_loss: record.train_loss,
        validation_loss: record.validation_loss,
        kernel: record.kernel.clone(),
        kernel_layers: record.kernel_layers,
        metrics: record.metrics.clone(),
        message: record.message.clone(),
        number: record.number,
        pair: record.pair,
        reference_first: record.reference_first,
        references: record.references.clone(),
        load: record.ambient.load,
        temperature: record.ambient.temperature,
        frequency: record.ambient.frequency,
        on_battery: record.ambient.on_battery,
    }
}

fn records(report: &EvaluationReport) -> &[DecisionRecord] {
    match &report.decision {
        Some(Decision::Judged(judgement)) => &judgement.records,
        Some(Decision::Aborted { records, .. }) => records,
        None => &[],
    }
}

/// A look as the database has it.
pub fn stored_decision(record: &DecisionRecord) -> program_db::Decision {
    program_db::Decision {
        stage: record.stage.as_str().to_owned(),
        look: record.look,
        metric: record.metric.map(|metric| metric.as_str().to_owned()),
        sigma: record.sigma,
        mean: record.mean,
        log_e: record.log_e,
        confirmations: record.confirmations,
        claims: record.claims,
        level: record.level,
        lower: record.lower,
        upper: record.upper,
        action: record.action.as_str().to_owned(),
        reason: record.reason.clone(),
        references: record.references.clone(),
    }
}

/// The protocol's last word without the looks, which have rows of their own; for command problems what noise has to be
/// remembered.
fn judgement(report: &EvaluationReport) -> Option<Value> {
    if let Some(record) = &report.noise {
        return Some(serde_json::json!({ NOISE: record }));
    }
    let Some(Decision::Judged(judgement)) = &report.decision else { return None };
    let mut value = serde_json::to_value(judgement).ok()?;
    value.as_object_mut()?.remove("records");
    Some(value)
}

/// Everything that the protocol of a run was told in earlier sessions.
pub async fn history(db: &ProgramDb, run: RunId) -> Result<History, Failure> {
    let past = db.measured_history(run).await.map_err(storage)?;
    let mut evaluations = Vec::with_capacity(past.len());
    let mut incumbent = None;
    for measurement in past {
        let evaluation = past_evaluation(&measurement)?;
        if evaluation.claimed {
            incumbent = Some(measurement.number);
        }
        evaluations.push(evaluation);
    }
    let incumbent = match incumbent {
        None => None,
        Some(number) => {
            let program = db.program(run, number).await.map_err(storage)?;
            Some(Incumbent { program: program.source, kernel: program.code_hash })
        }
    };
    let next_trial = db.next_trial_number(run).await.map_err(storage)?;
    let noise = noise(db, run).await?;
    Ok(History { evaluations, incumbent, next_trial, noise })
}

/// The programs of a command problem that were or would have been the best.
async fn noise(db: &ProgramDb, run: RunId) -> Result<Vec<Record>, Failure> {
    let judgements = db.judgements(run, NOISE).await.map_err(storage)?;
    let records =
        judgements.into_iter().filter_map(|mut judgement| judgement.get_mut(NOISE).map(Value::take));
    records.map(|record| serde_json::from_value(record).map_err(|error| unknown(&error))).collect()
}

fn past_evaluation(measurement: &PastMeasurement) -> Result<PastEvaluation, Failure> {
    let PastMeasurement { number, code_hash, judgement, trials } = measurement;
    let trials: Vec<PastTrial> =
        trials.iter().filter_map(|trial| past_trial(trial).transpose()).collect::<Result<_, _>>()?;
    let claim = judgement.as_ref().and_then(|judgement| judgement.get("claim"));
    // An evaluation without a last word ended by a forged trial, or because too many failed, which is a decision too.
    let is_forged = trials.last().is_some_and(|trial| trial.result.is_none());
    Ok(PastEvaluation {
        candidate: Candidate { program: code_hash.clone(), is_baseline: number.0 == 0 },
        decided: judgement.is_some() || !is_forged,
        claimed: claim.is_some_and(|claim| !claim.is_null()),
        trials,
    })
}

/// None if the protocol wasn't told of it.
fn past_trial(trial: &Trial) -> Result<Option<PastTrial>, Failure> {
    let Some(id) = trial.number else { return Ok(None) };
    let exit: Exit = word(&trial.exit)?;
    let (stage, arm): (Stage, Arm) = (word(&trial.stage)?, word(&trial.arm)?);
    let reference_first = trial.reference_first;
    let result = told(exit, trial.tokens_per_second, trial.peak_memory_bytes, trial.validation_loss);
    Ok(Some(PastTrial { id, stage, arm, seed: trial.seed, reference_first, result }))
}

/// What a word of ours stands for.
fn word<T: DeserializeOwned>(word: &str) -> Result<T, Failure> {
    serde_json::from_value(Value::from(word)).map_err(|error| unknown(&error))
}

fn unknown(error: &serde_json::Error) -> Failure {
    Failure {
        code: ExitCode::Storage,
        message: format!("the database has a word that this version of evolve doesn't know: {error}"),
    }
}
