//! Makes a run of a checkpoint: which program gets which number, and how each one ended. Pure but for reading large artifacts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use program_db::{Artifact, ImportedProgram, MeasuredBy, NewEvaluation, NewProgram};
use search::{Fingerprint, Language, Measured, Outcome, ProgramId, Score, Stage, Verdict};
use serde_json::{Value, json};

use super::read::{Checkpoint, Saved};
use super::{Origin, PROTOCOL};

/// What is imported.
#[derive(Debug)]
pub struct Plan {
    /// In order of numbers.
    pub programs: Vec<ImportedProgram>,
    /// What a user should know, one line each.
    pub remarks: Vec<String>,
    /// Whether programs differ outside their EVOLVE-BLOCK, as OpenEvolve lets them.
    pub frames_differ: bool,
}

/// What the checkpoint doesn't say.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    /// The program that the search began with.
    pub initial: Option<&'a str>,
    /// The programs' language.
    pub language: Language,
    /// Metrics that don't count in a mean; those of the checkpoint are added.
    pub features: Vec<String>,
    /// What an evaluation that timed out was allowed, in seconds.
    pub timeout: f64,
}

/// Numbers all programs, parents before children, and says how each one ended.
pub fn plan(folder: &Path, checkpoint: &Checkpoint, settings: &Settings<'_>) -> Plan {
    let mut remarks = Vec::new();
    let features: BTreeSet<&str> = checkpoint
        .features
        .iter()
        .map(String::as_str)
        .chain(settings.features.iter().map(String::as_str))
        .collect();
    let outcomes: BTreeMap<&str, Outcome> = checkpoint
        .programs
        .values()
        .map(|program| (program.id.as_str(), outcome(program, &features, settings.timeout)))
        .collect();
    let first = first(checkpoint, &outcomes, settings, &mut remarks);
    let order = order(checkpoint, first);
    let offset = u64::from(first.is_none());
    let numbers: BTreeMap<&str, ProgramId> =
        (offset..).zip(&order).map(|(number, program)| (program.id.as_str(), ProgramId(number))).collect();
    let mut orphans = 0;
    let mut programs = Vec::with_capacity(order.len() + 1);
    if let (None, Some(initial)) = (first, settings.initial) {
        programs.push(unevaluated(initial, &order, settings.language));
    }
    for program in &order {
        let number = numbers[program.id.as_str()];
        let known = program.parent_id.as_deref().and_then(|parent| numbers.get(parent)).copied();
        // In a cycle of parents, which no run makes, one comes after its child.
        let known = known.filter(|parent| *parent < number);
        if known.is_none() && number.0 > 0 && program.parent_id.is_some() {
            orphans += 1;
        }
        let parent = known.or(Some(ProgramId(0))).filter(|_| number.0 > 0);
        programs.push(imported(
            folder,
            checkpoint,
            program,
            number,
            parent,
            outcomes[program.id.as_str()].clone(),
            settings,
        ));
    }
    if orphans > 0 {
        remarks.push(format!(
            "the parents of {orphans} of them aren't in it: they stand below program 0 (`evolve show N --json` tells the parent's id)"
        ));
    }
    let frames_differ = frames_differ(&programs);
    if frames_differ {
        remarks.push(
            "programs differ outside their EVOLVE-BLOCK, which OpenEvolve lets them: that isn't checked in this run".to_owned(),
        );
    }
    Plan { programs, remarks, frames_differ }
}

/// The program of number 0, if it is in the checkpoint.
fn first<'c>(
    checkpoint: &'c Checkpoint,
    outcomes: &BTreeMap<&str, Outcome>,
    settings: &Settings<'_>,
    remarks: &mut Vec<String>,
) -> Option<&'c Saved> {
    let age = |program: &&Saved| (program.iteration_found, program.timestamp.to_bits(), program.id.clone());
    let all = || checkpoint.programs.values();
    if let Some(initial) = settings.initial {
        let same = all().filter(|program| program.code == initial).min_by_key(age);
        if same.is_none() {
            remarks.push(
                "the initial program isn't in the checkpoint: it is measured when the run goes on".to_owned(),
            );
        }
        return same;
    }
    let measured = |program: &&Saved| outcomes[program.id.as_str()].score().is_some();
    let root = all().filter(|program| program.parent_id.is_none() && program.generation == 0).min_by_key(age);
    if root.is_some_and(|root| measured(&root)) {
        return root;
    }
    let earliest = all().filter(measured).min_by_key(age).or_else(|| all().min_by_key(age))?;
    remarks.push(format!(
        "the initial program isn't in the checkpoint (--initial names it): the earliest one, {}, is program 0",
        earliest.id
    ));
    Some(earliest)
}

/// By age, but parents before children.
fn order<'c>(checkpoint: &'c Checkpoint, first: Option<&'c Saved>) -> Vec<&'c Saved> {
    let mut waiting: Vec<&Saved> = checkpoint.programs.values().collect();
    waiting.sort_by(|a, b| {
        let age = |program: &Saved| (program.iteration_found, program.generation);
        age(a).cmp(&age(b)).then(a.timestamp.total_cmp(&b.timestamp)).then(a.id.cmp(&b.id))
    });
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    let mut order: Vec<&Saved> = Vec::with_capacity(waiting.len());
    for program in first.into_iter().chain(waiting) {
        // Its ancestors that aren't placed yet, eldest last.
        let mut line = Vec::new();
        let mut next = Some(program);
        while let Some(one) = next.filter(|one| placed.insert(&one.id)) {
            line.push(one);
            // Number 0 has no parent, whatever the checkpoint says of it.
            let has_parent = first.is_none_or(|first| first.id != one.id);
            next = one
                .parent_id
                .as_ref()
                .filter(|_| has_parent)
                .and_then(|parent| checkpoint.programs.get(parent));
        }
        order.extend(line.into_iter().rev());
    }
    order
}

/// The initial program where the checkpoint doesn't have it.
fn unevaluated(initial: &str, order: &[&Saved], language: Language) -> ImportedProgram {
    ImportedProgram {
        number: ProgramId(0),
        created_at: order.iter().map(|program| milliseconds(program.timestamp)).min().unwrap_or_default(),
        island: 0,
        parent: None,
        proposer: "initial".to_owned(),
        operator: "initial".to_owned(),
        prompt: None,
        reply: None,
        program: new_program(initial, language),
        evaluation: None,
    }
}

fn new_program(source: &str, language: Language) -> NewProgram {
    let code = Fingerprint::of(source, language);
    NewProgram {
        code_hash: code.hash.to_string(),
        source: source.to_owned(),
        fingerprint: Some(code.to_bytes()),
    }
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}

fn imported(
    folder: &Path,
    checkpoint: &Checkpoint,
    program: &Saved,
    number: ProgramId,
    parent: Option<ProgramId>,
    outcome: Outcome,
    settings: &Settings<'_>,
) -> ImportedProgram {
    let of_metadata = program.metadata.get("island").and_then(Value::as_u64);
    let island = checkpoint.islands.get(&program.id).copied().or(of_metadata.map(|island| island as usize));
    let is_migrant = program.metadata.get("migrant").and_then(Value::as_bool) == Some(true);
    let (template, prompt, reply) = exchange(program);
    let (proposer, operator) = match (number.0, is_migrant) {
        (0, _) => ("initial", "initial"),
        (_, true) => ("openevolve", "exchange"),
        (_, false) => ("openevolve", template),
    };
    let origin = Origin {
        id: program.id.clone(),
        parent_id: program.parent_id.clone(),
        generation: program.generation,
        iteration: program.iteration_found,
        metadata: program.metadata.clone(),
    };
    let at = milliseconds(program.timestamp);
    ImportedProgram {
        number,
        created_at: at,
        island: if number.0 == 0 { 0 } else { island.unwrap_or(0) },
        parent,
        proposer: proposer.to_owned(),
        operator: operator.to_owned(),
        prompt,
        reply,
        program: new_program(&program.code, settings.language),
        evaluation: Some(NewEvaluation {
            measured_by: MeasuredBy {
                evaluator: PROTOCOL.to_owned(),
                harness: None,
                mlx: None,
                backend: None,
                device: None,
                // It has none.
                sandbox: Some("none".to_owned()),
                protocol: PROTOCOL.to_owned(),
                parameters: serde_json::to_value(origin).unwrap_or(json!({})),
            },
            started_at: at,
            ended_at: at,
            trials: Vec::new(),
            artifacts: artifacts(folder, program),
            decisions: Vec::new(),
            judgement: None,
            outcome,
        }),
    }
}

/// Which kind of change was asked for, the prompt, and the answer.
fn exchange(program: &Saved) -> (&'static str, Option<String>, Option<String>) {
    let prompts = program.prompts.iter().flatten();
    let kind = |template: &str| if template.starts_with("diff") { "edit" } else { "full_rewrite" };
    let Some((template, exchange)) = prompts.into_iter().find(|(template, _)| *template != "evaluation")
    else {
        return ("unknown", None, None);
    };
    let prompt = format!("[system]\n{}\n[user]\n{}", exchange.system, exchange.user);
    let reply = exchange
        .responses
        .first()
        .map(|reply| reply.as_str().map_or_else(|| reply.to_string(), str::to_owned));
    (kind(template), Some(prompt), reply)
}

/// What OpenEvolve calls a result, as an outcome: a failure is never a number.
fn outcome(program: &Saved, features: &BTreeSet<&str>, timeout: f64) -> Outcome {
    let metrics: BTreeMap<String, f64> = program
        .metrics
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_f64().filter(|value| value.is_finite())?)))
        .collect();
    let stage = Stage::Trial;
    let combined = program.metrics.get("combined_score");
    if combined.is_none() && program.metrics.contains_key("error") {
        if program.metrics.get("timeout").and_then(Value::as_bool) == Some(true) {
            return Outcome::Timeout { stage, limit_seconds: timeout };
        }
        return Outcome::Crash { stage, message: failure(program) };
    }
    let score = match combined {
        Some(value) => value.as_f64().ok_or_else(|| match value {
            Value::Null => "`combined_score` is not a finite number (NaN, infinity or null)".to_owned(),
            other => format!("`combined_score` has to be a number, not {other}"),
        }),
        None => mean(&metrics, features).ok_or_else(|| "it has no metric that is a number".to_owned()),
    };
    match score.and_then(|score| Score::new(score).map_err(|error| error.to_string())) {
        Ok(score) => Outcome::Measured(Measured {
            score,
            verdict: Verdict::Inconclusive,
            metrics,
            effects: Vec::new(),
            reason: format!("score {score} as OpenEvolve's evaluator reported it"),
            score_error: None,
        }),
        Err(reason) => Outcome::Rejected { reason },
    }
}

/// OpenEvolve's fitness of a program without a combined score.
fn mean(metrics: &BTreeMap<String, f64>, features: &BTreeSet<&str>) -> Option<f64> {
    let mean = |values: Vec<f64>| {
        let count = values.len() as f64;
        (count > 0.0).then(|| values.iter().sum::<f64>() / count)
    };
    let counting =
        metrics.iter().filter(|(name, _)| !features.contains(name.as_str())).map(|(_, value)| *value);
    mean(counting.collect()).or_else(|| mean(metrics.values().copied().collect()))
}

fn failure(program: &Saved) -> String {
    let artifacts: Option<Value> =
        program.artifacts_json.as_ref().and_then(|text| super::read::parse(text).ok());
    let text = |name: &str| artifacts.as_ref()?.get(name)?.as_str().map(str::to_owned);
    text("stderr")
        .or_else(|| text("error"))
        .filter(|text| !text.trim().is_empty())
        .unwrap_or_else(|| "its evaluation failed".to_owned())
}

/// Small ones from the program's file, large ones from their folder, and metrics that are no numbers.
fn artifacts(folder: &Path, program: &Saved) -> Vec<Artifact> {
    let artifact = |name: &str, value: &Value| Artifact { name: name.to_owned(), content: plain(value) };
    let texts = program.metrics.iter().filter(|(_, value)| !value.is_number() && !value.is_null());
    let mut artifacts: Vec<Artifact> = texts.map(|(name, value)| artifact(name, value)).collect();
    let small: Option<Value> = program.artifacts_json.as_ref().and_then(|text| super::read::parse(text).ok());
    let small = small.as_ref().and_then(Value::as_object).into_iter().flatten();
    artifacts.extend(small.map(|(name, value)| artifact(name, value)));
    // The path is relative to wherever that process was started; the checkpoint may have been moved since.
    let places = program
        .artifact_dir
        .iter()
        .flat_map(|dir| [dir.clone(), folder.join(dir), folder.join("artifacts").join(&program.id)]);
    if let Some(place) = places.into_iter().find(|place| place.is_dir()) {
        let mut files: Vec<_> =
            std::fs::read_dir(place).ok().into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            if let Ok(bytes) = std::fs::read(&file) {
                let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                artifacts.push(Artifact { name, content: String::from_utf8_lossy(&bytes).into_owned() });
            }
        }
    }
    artifacts
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn frames_differ(programs: &[ImportedProgram]) -> bool {
    let mut frames = programs.iter().map(|program| evaluator::block::parts(&program.program.source));
    let Some(first) = frames.next() else { return false };
    frames.any(|frame| match (&first, &frame) {
        (Ok(first), Ok(frame)) => first.first_frame_difference(frame).is_some(),
        _ => true,
    })
}
