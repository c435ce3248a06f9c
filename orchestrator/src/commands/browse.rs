//! The commands that look things up: runs, best, show, diff, lineage, query.

use std::path::Path;

use program_db::{Program, ProgramDb, RunId, Table, Value};
use search::ProgramId;
use similar::TextDiff;

use super::alarm;
use super::open::{program_of, reading, run_of, storage};
use super::table::render;
use super::text::{printable, utc};
use crate::cli::{Format, ProgramRef};
use crate::dossier::Dossier;
use crate::exit_code::{ExitCode, Failure};
use crate::report::{self, judgement::Judgement};

pub(super) async fn runs(db: Option<&Path>, format: Format) -> Result<ExitCode, Failure> {
    let db = reading(db).await?;
    let columns = [
        "run",
        "started",
        "title",
        "seed",
        "proposals",
        "evaluated",
        "pending",
        "best",
        "score",
        "improved",
        "seconds",
    ];
    let mut table = Table { columns: columns.map(str::to_owned).to_vec(), ..Table::default() };
    for run in db.runs().await.map_err(storage)? {
        let summary = db.summary(run.id).await.map_err(storage)?;
        let count = |count: u64| Value::Integer(count.cast_signed());
        let (best, score) = summary
            .best
            .map_or((Value::Null, Value::Null), |(id, score)| (count(id.0), Value::Real(score.get())));
        table.rows.push(vec![
            Value::Integer(run.id),
            Value::Text(utc(run.created_at)),
            Value::Text(run.title),
            count(run.seed),
            count(summary.proposals),
            count(summary.evaluations),
            count(summary.pending),
            best,
            score,
            summary.incumbent.map_or(Value::Null, |(id, _)| count(id.0)),
            Value::Real(summary.duration.as_secs_f64()),
        ]);
    }
    print!("{}", render(&table, format)?);
    alarm::say(alarm::of_runs(&db, None).await?);
    Ok(ExitCode::Success)
}

pub(super) async fn best(
    db: Option<&Path>,
    run: Option<i64>,
    out: Option<&Path>,
) -> Result<ExitCode, Failure> {
    let db = reading(db).await?;
    let run = run_of(&db, run).await?;
    let program = best_of(&db, run).await?.ok_or_else(|| {
        Failure::usage(format!(
            "run {run} has no measured program yet; `evolve resume {run}` goes on with it"
        ))
    })?;
    let about = program.outcome.as_ref().map(ToString::to_string).unwrap_or_default();
    alarm::say(alarm::of_runs(&db, Some(run)).await?);
    match out {
        Some(out) => {
            evaluator::bundle::write(&program.source, out)
                .map_err(|error| Failure::usage(format!("{}: can't be written: {error}", out.display())))?;
            eprintln!("program {run}/{} ({about}) is in {}", program.number, out.display());
        }
        None => {
            eprintln!("program {run}/{} ({about}):", program.number);
            print!("{}", shown(&program.source));
        }
    }
    Ok(ExitCode::Success)
}

/// The best program that is claimed to be better than the initial one; if none is, that with the highest score.
pub(super) async fn best_of(db: &ProgramDb, run: RunId) -> Result<Option<Program>, Failure> {
    match db.incumbent(run).await.map_err(storage)? {
        Some(incumbent) => Ok(Some(incumbent)),
        None => Ok(db.best(run, 1).await.map_err(storage)?.into_iter().next()),
    }
}

/// A source as it is where a program reads it, made safe where a person does.
fn shown(source: &str) -> String {
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) { printable(source) } else { source.to_owned() }
}

pub(super) async fn show(
    db: Option<&Path>,
    program: ProgramRef,
    prompt: bool,
    json: bool,
) -> Result<ExitCode, Failure> {
    let db = reading(db).await?;
    let (run, number) = program_of(&db, program).await?;
    if json {
        let dossier = Dossier::read(&db, run, number, prompt).await.map_err(storage)?;
        println!("{}", serde_json::to_string_pretty(&dossier).unwrap_or_default());
        return Ok(ExitCode::Success);
    }
    let proposal = db.proposal(run, number).await.map_err(storage)?;
    let outcome = db.outcome(run, number).await.map_err(storage)?;
    let trials = db.trials(run, number).await.map_err(storage)?;
    let decisions = db.decisions(run, number).await.map_err(storage)?;
    let artifacts = db.artifacts(run, number).await.map_err(storage)?;
    let evaluation = db.evaluation(run, number).await.map_err(storage)?;
    // A proposal that led to no program is worth looking at too.
    let program = match db.program(run, number).await {
        Ok(program) => Some(program),
        Err(program_db::DbError::NoProgram { .. }) => None,
        Err(error) => return Err(storage(error)),
    };
    let mut text = format!("program {run}/{number}");
    if let Some(parent) = proposal.parent {
        text.push_str(&format!(", {} of program {parent}", proposal.operator));
    }
    text.push_str(&format!(", by {}", proposal.model.as_deref().unwrap_or(&proposal.proposer)));
    if let Some(program) = &program {
        text.push_str(&format!(", generation {}, island {}", program.generation, program.island));
    }
    text.push('\n');
    if let Some(evaluation) = &evaluation {
        let by = &evaluation.measured_by;
        let device = by.device.as_deref().map(|device| format!(" on {device}")).unwrap_or_default();
        let mlx = by
            .mlx
            .as_deref()
            .zip(by.backend.as_deref())
            .map(|(mlx, backend)| format!(", MLX {mlx} ({backend})"));
        text.push_str(&format!(
            "measured {} with protocol {}{}{device}, evaluator {}\n",
            utc(evaluation.started_at),
            by.protocol,
            mlx.unwrap_or_default(),
            by.evaluator
        ));
    }
    if let Some(alarm) = evaluation.as_ref().and_then(|of| alarm::of_one(of.measured_by.sandbox.as_deref())) {
        println!("{}", alarm::on_stdout(&alarm));
    }
    text.push('\n');
    text.push_str(
        &outcome.as_ref().map_or_else(|| "outcome: not evaluated yet\n".to_owned(), report::outcome),
    );
    let judgement = evaluation.as_ref().and_then(|of| Judgement::read(of.judgement.as_ref()?));
    text.push_str(&report::decisions::explanation(&trials, &decisions, judgement.as_ref()));
    for artifact in &artifacts {
        text.push_str(&format!("\n{}:\n{}\n", artifact.name, artifact.content.trim_end()));
    }
    if prompt {
        for (name, content) in [("prompt", &proposal.prompt), ("reply", &proposal.reply)] {
            text.push_str(&format!("\n{name}:\n{}\n", content.as_deref().unwrap_or("(none)")));
        }
    }
    if let Some(program) = &program {
        text.push_str(&format!("\nsource:\n{}", program.source));
    }
    print!("{}", printable(&text));
    Ok(ExitCode::Success)
}

pub(super) async fn diff(db: Option<&Path>, a: ProgramRef, b: ProgramRef) -> Result<ExitCode, Failure> {
    let db = reading(db).await?;
    let (a_name, a) = source(&db, a).await?;
    let (b_name, b) = source(&db, b).await?;
    let diff = TextDiff::from_lines(&a, &b);
    print!("{}", shown(&diff.unified_diff().context_radius(3).header(&a_name, &b_name).to_string()));
    Ok(ExitCode::Success)
}

async fn source(db: &ProgramDb, program: ProgramRef) -> Result<(String, String), Failure> {
    let (run, number) = program_of(db, program).await?;
    let program = db.program(run, number).await.map_err(storage)?;
    Ok((format!("program {run}/{number}"), program.source))
}

pub(super) async fn lineage(
    db: Option<&Path>,
    program: ProgramRef,
    format: Format,
) -> Result<ExitCode, Failure> {
    let db = reading(db).await?;
    let (run, number) = program_of(&db, program).await?;
    let columns = ["number", "generation", "island", "operator", "by", "outcome", "score"];
    let mut table = Table { columns: columns.map(str::to_owned).to_vec(), ..Table::default() };
    let id = |id: ProgramId| Value::Integer(id.0.cast_signed());
    for program in db.lineage(run, number).await.map_err(storage)? {
        let score = program.score().map_or(Value::Null, |score| Value::Real(score.get()));
        table.rows.push(vec![
            id(program.number),
            Value::Integer(program.generation.into()),
            Value::Integer(program.island.cast_signed() as i64),
            Value::Text(program.operator),
            Value::Text(program.model.unwrap_or(program.proposer)),
            program.outcome.map_or(Value::Null, |outcome| Value::Text(outcome.to_string())),
            score,
        ]);
    }
    print!("{}", render(&table, format)?);
    alarm::say(alarm::of_runs(&db, Some(run)).await?);
    Ok(ExitCode::Success)
}

pub(super) async fn query(
    db: Option<&Path>,
    expression: Option<&str>,
    sql: bool,
    run: Option<i64>,
    all_runs: bool,
    format: Format,
) -> Result<ExitCode, Failure> {
    let db = reading(db).await?;
    let expression = expression.unwrap_or_default();
    let run = if all_runs || sql { None } else { Some(run_of(&db, run).await?) };
    let table = if sql { db.sql(expression).await } else { db.query(run, expression).await };
    print!("{}", render(&table.map_err(storage)?, format)?);
    alarm::say(alarm::of_runs(&db, run).await?);
    Ok(ExitCode::Success)
}
